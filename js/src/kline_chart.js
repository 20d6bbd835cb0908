/** Klines: candles over volume, lines over them, a legend, buttons for the interval. */

import { Bars } from "./chart/bars.js";
import { Candles, lineColour } from "./chart/candles.js";
import CHART_STYLE from "./chart/chart.css";
import { command } from "./chart/keys.js";
import { Legend } from "./chart/legend.js";
import { PATIENCE_MS, saidOf } from "./chart/loading.js";
import { overlay } from "./chart/overlays.js";
import { Switch } from "./chart/switch.js";
import { clock, intervalName, moment } from "./chart/times.js";
import { Flag, Kind, State } from "./frame.js";
import { put } from "./header.js";
import { arrow, formatter, percent } from "./numbers.js";
import { widget } from "./widget.js";

const ASK_AGAIN_MS = 500;
const NEAR_THE_EDGE = 5;
const WIDE = 900;
const LEGEND = 24;
const HELP = "Arrow keys move and zoom, digits choose the interval, Home and End go to the oldest and newest bar.";

class KlineView {
  constructor(stage) {
    this.stage = stage;
    this.bars = new Bars();
    this.overlays = [];
    this.pointedAt = null;
    this._loading = false;
    this._wantedSince = performance.now();
    this._symbol = stage.get("symbol");
    this._taken = -1;
    this._asked = 0;
    this._touched = false;
    this._build();
    this.candles = new Candles(this.canvas, {
      pointed: (seconds) => this._point(seconds),
      moved: (from) => this._moved(from),
    });
    this._listen();
    stage.onChange("symbol", () => this._forget());
    stage.onChange("symbol", () => this._wait());
    stage.onChange("interval", () => this._wait());
    stage.onChange("intervals", () => this._choices());
    stage.onChange("price_decimals", () => this._again());
    stage.onChange("overlays", () => this._line());
    stage.onChange("overlays", () => this._again());
    this._wait();
    this._line();
  }

  _build() {
    const make = (kind, name) => Object.assign(document.createElement(kind), { className: name });
    const style = Object.assign(document.createElement("style"), { textContent: CHART_STYLE });
    this.element = make("div", "ml-chart");
    this.legend = new Legend();
    this.switch = new Switch((interval) => this.stage.set("interval", interval));
    this.narrow = make("div", "ml-chart-bar ml-chart-choices");
    const bar = make("div", "ml-chart-bar");
    bar.append(this.legend.element);
    this.place = make("div", "ml-chart-canvas");
    this.canvas = document.createElement("div");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "chart");
    this.canvas.setAttribute("aria-label", HELP);
    // JupyterLab would take digits and arrows for its own commands.
    this.element.dataset.lmSuppressShortcuts = "true";
    this.canvas.setAttribute("aria-describedby", this.legend.hints.id);
    this.loading = make("div", "ml-chart-loading");
    this.loading.setAttribute("role", "status");
    this.place.append(this.canvas, this.loading);
    this.element.append(style, this.narrow, bar, this.legend.hints, this.place);
    this.stage.body.append(this.element);
  }

  _listen() {
    const { canvas } = this;
    canvas.addEventListener("keydown", (event) => this._press(event));
    canvas.addEventListener("focus", () => this.candles.chosen(true));
    canvas.addEventListener("blur", () => this.candles.chosen(false));
    canvas.addEventListener("pointerdown", () => {
      this._touched = true;
      canvas.focus({ preventScroll: true });
    });
  }

  _press(event) {
    const [what, amount] = command(event) ?? [];
    if (!what) return;
    event.preventDefault();
    event.stopPropagation();
    this._touched = true;
    if (what !== "choose") this.candles[what](amount);
    else if (this.switch.names[amount]) this.stage.set("interval", this.switch.names[amount]);
  }

  _choices() {
    this.switch.offer(this.stage.get("intervals") ?? [], this.stage.get("interval"));
    this._name();
  }

  /** Other bars are wanted from now on. */
  _wait() {
    this._wantedSince = performance.now();
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.stage.invalidate(), PATIENCE_MS + 20);
    this._choices();
  }

  get _drawn() {
    return this.bars.interval ? intervalName(this.bars.interval) : "";
  }

  /** The header says what is drawn, and what is on its way; bars that stand still for too long are given up. */
  _name() {
    const { stage, element, loading } = this;
    const [wanted, symbol] = [stage.get("interval"), stage.get("symbol")];
    const waited = performance.now() - this._wantedSince;
    const { detail, text } = saidOf({ drawn: this._drawn, wanted, symbol, loading: this._loading, waited });
    stage.header.set({ detail });
    // Nothing is on its way then.
    const isHeld = stage.link.state === State.PAUSED || stage.link.state === State.STOPPED;
    this._isLate = Boolean(text) && !isHeld;
    element.toggleAttribute("data-late", this._isLate);
    // The line that says what is wrong stands at the same place.
    put(loading, this._isLate && !stage.message.textContent ? text : "");
  }

  _line() {
    this.overlays = (this.stage.get("overlays") ?? []).map(overlay).filter(Boolean);
    this.candles.lined(this.overlays.length);
    for (const each of this.overlays) each.reckon(this.bars, 0);
  }

  // What the kernel sends

  /** A frame is here. Drawn at once: the library paints at the next frame of the screen by itself. */
  took(frame) {
    // Until then the former symbol's may still have been on their way.
    if (frame.flags & Flag.FRESH && this._symbol !== this.stage.get("symbol")) {
      this._symbol = this.stage.get("symbol");
      this._forget();
    }
    this._loading = Boolean(frame.flags & Flag.LOADING);
    if (frame.kind !== Kind.BARS && frame.kind !== Kind.BARS_SNAPSHOT) return;
    if (frame.sequence <= this._taken && frame.sequence > this._taken - 1000) return;
    this._taken = frame.sequence;
    if (frame.kind === Kind.BARS_SNAPSHOT && this._isEarly(frame)) return;
    const former = this.bars.interval;
    const from = this.bars.take(frame);
    if (former !== this.bars.interval) this._touched = false;
    if (from === null) this._askWhole(frame);
    else if (from < this.bars.list.length) this._reckon(from);
    this.drawn = frame;
  }

  /** While history is on its way, a picture with more bars stays, but not for long where it is another one. */
  _isEarly(frame) {
    return Boolean(frame.flags & Flag.LOADING) && frame.counts[0] < this.bars.list.length && !this._isLate;
  }

  /** Another symbol's bars are not shown under the new one's name. */
  _forget() {
    this.bars = new Bars();
    this._spokenOf = null;
    this._line();
    this._again();
  }

  _reckon(from) {
    const { bars, overlays, candles } = this;
    const trimmed = from ? bars.trim() : 0;
    for (const each of overlays) {
      each.trim(trimmed);
      each.reckon(bars, Math.max(from - trimmed, 0));
    }
    if (from === 0 || trimmed) candles.setAll(bars, overlays, !this._touched);
    else candles.setFrom(bars, overlays, from, !this._touched);
    if (from === 0 || bars.last.time !== this._namedAt) this._nameLines();
  }

  _askWhole({ flags }) {
    const now = performance.now();
    // What is still being fetched comes whole by itself.
    if (flags & Flag.LOADING || now - this._asked < ASK_AGAIN_MS) return;
    this._asked = now;
    this.stage.ask("whole");
  }

  // What is painted

  paint(frames) {
    for (const frame of frames) this.took(frame);
    const { bars, stage } = this;
    this._name();
    const { last } = bars;
    if (!last) return;
    const format = this._format();
    stage.header.set(this._isLate ? { last: "", change: NaN } : { last: format(last.close), change: bars.change });
    this._legend(format);
    this._tell(last, format);
  }

  _format() {
    return formatter(this.stage.get("price_decimals"));
  }

  _legend(format) {
    const { bars } = this;
    const pointed = this.pointedAt === null ? -1 : bars.indexOf(this.pointedAt);
    this.legend.show(bars, pointed < 0 ? bars.list.length - 1 : pointed, this.overlays, format);
  }

  /** For tests, and for whoever cannot see. */
  _tell(last, format) {
    const { bars, stage, drawn } = this;
    const values = Object.fromEntries(this.overlays.map(({ name, values }) => [name, values.at(-1)]));
    Object.assign(stage.root.mlView.drawn, {
      id: drawn?.id ?? 0,
      bars: bars.list.length,
      first: bars.list[0].time,
      interval: intervalName(bars.interval),
      revision: bars.revision,
      marked: bars.list.filter(({ mark }) => mark).length,
      overlays: values,
      ...last,
      ...this.candles.newest(),
    });
    if (last.time === this._spokenOf) return;
    this._spokenOf = last.time;
    const at = moment(last.time / 1e6, bars.interval);
    const { change, list } = bars;
    const told = Number.isFinite(change) ? `, ${arrow(change)} ${percent(change)} in ${list.length} bars` : "";
    stage.announce(`${stage.get("symbol")} ${intervalName(bars.interval)}, ${at} UTC: ${format(last.close)}${told}`);
  }

  _point(seconds) {
    this.pointedAt = seconds === null ? null : seconds * 1e6;
    this.stage.invalidate();
  }

  _moved(from) {
    if (!this._touched || from > NEAR_THE_EDGE || !this.bars.list.length) return;
    const oldest = this.bars.list[0].time;
    // Where older ones were asked for and none came, there are none.
    if (this._oldest === oldest) return;
    this._oldest = oldest;
    this.stage.ask("older");
  }

  // Its place on the page

  resized(width, height) {
    const home = width >= WIDE ? this.stage.header.tools : this.narrow;
    if (this.switch.element.parentNode !== home) home.append(this.switch.element);
    const above = home === this.narrow ? 2 * LEGEND : LEGEND;
    this.candles.resized(width, Math.max(height - above, 40));
  }

  themed() {
    this.candles.themed(this.stage.theme);
    this._again();
  }

  /** The same bars in another dress. */
  _again() {
    this.candles.written(this._format(), this.stage.get("price_decimals"));
    this.candles.setAll(this.bars, this.overlays, false);
    this._nameLines();
    this.stage.invalidate();
  }

  _nameLines() {
    this._namedAt = this.bars.last?.time;
    this.legend.name(this.overlays.map((each, place) => this._named(each, place)));
  }

  _named(each, place) {
    const since = this.bars.list.length ? each.since?.(this.bars) : null;
    const hint = since ? `since ${clock(since / 1e6, true)} UTC; what was traded before on that day is not known` : "";
    return { name: each.name, colour: lineColour(this.stage.theme, place), hint };
  }

  destroy() {
    clearTimeout(this._timer);
    this.candles.destroy();
    this.switch.element.remove();
  }
}

export default widget("kline_chart", (stage) => new KlineView(stage));
