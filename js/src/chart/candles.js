/** The chart itself: lightweight-charts behind the few things that a view asks of it. */

import { CandlestickSeries, CrosshairMode, HistogramSeries, LineSeries, LineStyle, MismatchDirection, createChart } from "lightweight-charts";

import { faint } from "../theme.js";
import { isMissing } from "./bars.js";
import { Marks } from "./marks.js";
import { moment, tick } from "./times.js";

const LINES = { light: ["#b77900", "#3366cc", "#8e44ad", "#707070"], dark: ["#f2b134", "#6ea8fe", "#c792ea", "#a8a8a8"] };
const LOGO_LEADS_TO = "https://www.tradingview.com/lightweight-charts/";
const SECOND = 1_000_000;
const USUAL_SPACING = 7;
const WIDEST_SPACING = 14;

const seconds = (bar) => bar.time / SECOND;

/** Colours of overlay lines, by their place. */
export function lineColour(theme, place) {
  const tones = LINES[theme.dark ? "dark" : "light"];
  return tones[place % tones.length];
}

export class Candles {
  /**
   * @param {HTMLElement} element
   * @param {{pointed: (seconds: number | null) => void, moved: (from: number) => void}} told
   *   `pointed`: the crosshair is at a bar or left; `moved`: the first bar that can be seen is another one
   */
  constructor(element, { pointed, moved }) {
    this.chart = createChart(element, options());
    this.series = this.chart.addSeries(CandlestickSeries, { lastValueVisible: false, priceLineStyle: LineStyle.SparseDotted });
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
    this.marks = new Marks();
    this.series.attachPrimitive(this.marks);
    this.lines = [];
    this.theme = {};
    this.interval = 0;
    this._count = 0;
    this._rises = null;
    this._format = String;
    this.chart.applyOptions({ localization: { timeFormatter: (time) => moment(time, this.interval) } });
    this.chart.subscribeCrosshairMove(({ time }) => pointed(time ?? null));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => range && moved(range.from));
    // The library's link would tell where this notebook is.
    element.addEventListener("click", ({ target }) => aim(target.closest?.("#tv-attr-logo")), true);
  }

  /** Colours. The bars have to be shown again, since each volume has a colour of its own. */
  themed(theme) {
    this.theme = theme;
    const { up, down, dim, line, ground, font } = theme;
    this.chart.applyOptions({
      layout: { background: { color: ground }, textColor: dim, fontFamily: font, panes: { separatorColor: line } },
      grid: { vertLines: { color: faint(line, 0.55) }, horzLines: { color: faint(line, 0.55) } },
      crosshair: { vertLine: { color: dim, labelBackgroundColor: "#4c525e" }, horzLine: { color: dim, labelBackgroundColor: "#4c525e" } },
    });
    this.series.applyOptions({
      upColor: faint(up, 0.28),
      downColor: down,
      borderUpColor: up,
      borderDownColor: down,
      wickUpColor: up,
      wickDownColor: down,
    });
    this.lines.forEach((drawn, place) => drawn.applyOptions({ color: lineColour(theme, place) }));
    this._rises = null;
  }

  /** How prices are written, and the smallest difference of two. */
  written(format, decimals) {
    const labels = remembering(format);
    this._format = format;
    this.series.applyOptions({ priceFormat: { type: "custom", formatter: labels, minMove: 10 ** -decimals } });
    this.chart.applyOptions({ localization: { priceFormatter: labels } });
  }

  /** So many overlay lines. */
  lined(count) {
    while (this.lines.length > count) this.chart.removeSeries(this.lines.pop());
    while (this.lines.length < count) {
      this.lines.push(
        this.chart.addSeries(LineSeries, {
          color: this.theme.dark === undefined ? "#888" : lineColour(this.theme, this.lines.length),
          lineWidth: 1.5,
          lastValueVisible: false,
          priceLineVisible: false,
          crosshairMarkerVisible: false,
        }),
      );
    }
  }

  /** Everything anew; `fit`: nobody has chosen what is to be seen. */
  setAll(bars, overlays, fit) {
    this.interval = bars.interval;
    const withSeconds = bars.interval < 60 * SECOND;
    this.chart.timeScale().applyOptions({ secondsVisible: withSeconds, timeVisible: bars.interval < 86_400 * SECOND });
    this.series.setData(bars.list.map(candle));
    this.volume.setData(bars.list.map((bar) => this._volume(bar)));
    overlays.forEach((overlay, place) => {
      this.lines[place].setData(bars.list.map((_, at) => point(overlay, bars, at)));
    });
    this.marks.show(bars.list);
    this._last(bars.last);
    this._count = bars.list.length;
    if (fit) this.fit();
  }

  /** The bars from a place on, which is near the end. */
  setFrom(bars, overlays, from, fit) {
    const { list } = bars;
    for (let at = from; at < list.length; at += 1) {
      // What lies before the last bar that is drawn is another kind of update.
      const past = at < this._count - 1;
      this.series.update(candle(list[at]), past);
      this.volume.update(this._volume(list[at]), past);
      overlays.forEach((overlay, place) => {
        const line = this.lines[place];
        // The stroke to a new bar is the former one's.
        if (at >= this._count && at && breaks(overlay, list, at)) line.update(point(overlay, bars, at - 1));
        line.update(point(overlay, bars, at), past);
      });
    }
    if (from < list.length - 1) this.marks.show(list);
    const longer = list.length > this._count;
    this._count = list.length;
    if (fit && longer) this.fit();
    this._last(bars.last);
  }

  /** The newest bars at the right in their usual width; a few ones are wider. */
  fit() {
    const scale = this.chart.timeScale();
    const spacing = Math.min(Math.max((scale.width() * 0.9) / (this._count + 5), USUAL_SPACING), WIDEST_SPACING);
    if (Math.abs(scale.options().barSpacing - spacing) < 0.1 && this._fitted === this.interval) return;
    this._fitted = this.interval;
    scale.applyOptions({ barSpacing: spacing });
    scale.resetTimeScale();
  }

  _volume(bar) {
    if (isMissing(bar)) return { time: seconds(bar) };
    const colour = bar.close >= bar.open ? this.theme.up : this.theme.down;
    return { time: seconds(bar), value: bar.volume, color: faint(colour, bar.close >= bar.open ? 0.28 : 0.5) };
  }

  _last(bar) {
    if (!bar) this.marks.label(NaN, "", this.theme.up);
    if (!bar || isMissing(bar)) return;
    const rises = bar.close >= bar.open;
    const colour = rises ? this.theme.up : this.theme.down;
    this.marks.label(bar.close, this._format(bar.close), colour);
    if (rises === this._rises) return;
    this._rises = rises;
    this.series.applyOptions({ priceLineColor: colour });
  }

  resized(width, height) {
    this.chart.resize(Math.floor(width), Math.floor(height));
  }

  /** Wheel and pinch belong to the page until the chart was chosen. */
  chosen(isChosen) {
    this.chart.applyOptions({ handleScale: { mouseWheel: isChosen }, handleScroll: { mouseWheel: isChosen } });
  }

  /** The newest candle as the library has it, and what can be seen as places of bars. */
  newest() {
    const { open, high, low, close } = this.series.dataByIndex(this._count, MismatchDirection.NearestLeft) ?? {};
    const { from, to } = this.chart.timeScale().getVisibleLogicalRange() ?? {};
    return { open, high, low, close, from, to };
  }

  /** Move by so many bars; positive: into the past. */
  pan(count) {
    const scale = this.chart.timeScale();
    scale.scrollToPosition(scale.scrollPosition() - count, false);
  }

  /** Show so many times the bars, the newest staying where they are. */
  zoom(times) {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (range) scale.setVisibleLogicalRange({ from: range.to - (range.to - range.from) * times, to: range.to });
  }

  /** To the oldest bar. */
  home() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (range) this.chart.timeScale().setVisibleLogicalRange({ from: -1, to: range.to - range.from - 1 });
  }

  /** To the newest bar. */
  end() {
    this.chart.timeScale().scrollToRealTime();
  }

  destroy() {
    this.chart.remove();
  }
}

function options() {
  return {
    layout: { attributionLogo: true, fontSize: 12 },
    rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.06, bottom: 0.24 } },
    timeScale: {
      borderVisible: false,
      barSpacing: 7,
      minBarSpacing: 0.5,
      rightOffset: 5,
      tickMarkFormatter: tick,
      maxBarSpacing: 40,
    },
    crosshair: { mode: CrosshairMode.Normal },
    handleScale: { mouseWheel: false },
    handleScroll: { mouseWheel: false, vertTouchDrag: false },
  };
}

/** The axis writes the same few prices at every paint. */
function remembering(format) {
  const known = new Map();
  return (price) => {
    if (!known.has(price)) {
      if (known.size > 100) known.clear();
      known.set(price, format(price));
    }
    return known.get(price);
  };
}

function candle(bar) {
  if (isMissing(bar)) return { time: seconds(bar) };
  return { time: seconds(bar), open: bar.open, high: bar.high, low: bar.low, close: bar.close };
}

function point(overlay, { list }, at) {
  const [time, value] = [seconds(list[at]), overlay.values[at]];
  if (!Number.isFinite(value)) return { time };
  return breaks(overlay, list, at + 1) ? { time, value, color: "transparent" } : { time, value };
}

/** Whether no stroke leads to a bar: it has no value, or the line begins anew there. */
function breaks({ values, begins }, list, at) {
  return at < list.length && (!Number.isFinite(values[at]) || Boolean(begins?.(list[at])));
}

function aim(link) {
  if (!link) return;
  link.href = LOGO_LEADS_TO;
  link.rel = "noopener noreferrer";
}
