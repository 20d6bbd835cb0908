/** The line above the candles: the bar under the crosshair, else the newest one, and the lines' values there. */

import { put } from "../header.js";
import { arrow, percent, short } from "../numbers.js";
import { Mark, isMissing } from "./bars.js";
import { moment } from "./times.js";

let legends = 0;

const PRICES = ["open", "high", "low", "close"];

/** What is remarkable about a bar, in words. */
export function remark(mark) {
  if (mark & Mark.MISSING) return "missing";
  if (mark & Mark.PARTIAL) return "not seen in full";
  return mark & Mark.HEALED ? "fetched back" : "";
}

/** A bar's change against the close before it, as a fraction; NaN where that is unknown. */
export function changeOf(list, at) {
  const [bar, former] = [list[at], list[at - 1]];
  const base = former && !isMissing(former) ? former.close : bar.open;
  return bar.close / base - 1;
}

export class Legend {
  constructor() {
    this.element = span("ml-legend");
    this.element.ariaHidden = "true";
    // For whoever cannot see: the legend itself would be read at every trade.
    this.hints = span("ml-hidden");
    this.hints.id = `ml-hints-${(legends += 1)}`;
    this.time = span("ml-legend-time");
    this.remark = span("ml-legend-remark");
    this.prices = PRICES.map((name) => pair(name[0].toUpperCase()));
    this.change = span("ml-change");
    this.volume = pair("V");
    this.lines = span("ml-legend-lines");
    const prices = span("ml-legend-prices");
    prices.append(...this.prices.map(({ element }) => element));
    this.element.append(this.time, prices, this.change, this.volume.element, this.remark, this.lines);
    this.named = [];
  }

  /** The lines by name and colour; `hint` is what there is to know of one. */
  name(overlays) {
    const hints = overlays.filter(({ hint }) => hint).map(({ name, hint }) => `${name} ${hint}.`);
    put(this.hints, hints.join(" "));
    const isSame = overlays.length === this.named.length && overlays.every(({ name }, at) => name === this.named[at].name);
    if (!isSame) this._make(overlays);
    overlays.forEach(({ colour, hint }, at) => {
      this.named[at].label.style.color = colour;
      this.named[at].element.title = hint;
    });
  }

  _make(overlays) {
    this.named = overlays.map(({ name }) => ({ name, ...pair(name) }));
    this.lines.replaceChildren(...this.named.map(({ element }) => element));
  }

  /** Show a bar; `format` writes prices, `size` sizes. */
  show(bars, at, overlays, format) {
    const bar = bars.list[at];
    put(this.time, `${moment(bar.time / 1e6, bars.interval)} UTC`);
    put(this.remark, remark(bar.mark));
    PRICES.forEach((name, place) => put(this.prices[place].value, format(bar[name])));
    const change = changeOf(bars.list, at);
    put(this.change, Number.isFinite(change) ? `${arrow(change)} ${percent(change)}` : "");
    const direction = change > 0 ? "up" : change < 0 ? "down" : "";
    if (this.change.dataset.direction !== direction) this.change.dataset.direction = direction;
    put(this.volume.value, short(bar.volume));
    overlays.forEach(({ values }, place) => put(this.named[place].value, format(values[at])));
  }
}

function span(name) {
  return Object.assign(document.createElement("span"), { className: name });
}

function pair(name) {
  const [element, label, value] = [span("ml-pair"), document.createElement("i"), document.createElement("span")];
  label.textContent = name;
  element.append(label, value);
  return { element, label, value };
}
