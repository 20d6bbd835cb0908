/** The line at the top of every widget: what it shows, what the data is doing, last price and change. */

import { State } from "./frame.js";
import { arrow, duration, percent } from "./numbers.js";

/**
 * What the data is doing, in one word and in a sentence's worth.
 * @param {{state: number, origin: string, stale: number, reconnecting: number}} link
 * @returns {{word: string, text: string}} `word` is one of waiting, live, replay, simulated, stale, stopped, paused
 */
export function stateOf({ state, origin, stale, reconnecting = 0 }) {
  const mark = origin === "simulated" || origin === "replay" ? origin : "";
  const marked = (text) => (mark ? `${mark} · ${text}` : text);
  if (state === State.STOPPED) return { word: "stopped", text: marked("stopped") };
  if (stale) return { word: "stale", text: marked(`stale ${duration(stale)}`) };
  if (state === State.RECONNECTING) return { word: "stale", text: marked(`stale ${duration(reconnecting)}, reconnecting`) };
  if (state === State.PAUSED) return { word: "paused", text: marked("paused") };
  if (!origin) return { word: "waiting", text: "waiting" };
  return { word: mark || "live", text: mark || "live" };
}

/** Sets an element's text where it differs: most frames change nothing here. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The header's element and what it shows. */
export class Header {
  constructor(document) {
    const make = (kind, name) => Object.assign(document.createElement(kind), { className: name });
    this.element = make("div", "ml-header");
    this.words = make("span", "ml-words");
    this.exchange = make("span", "ml-exchange");
    this.rest = make("span", "ml-rest");
    this.words.append(this.exchange, this.rest);
    this.state = make("span", "ml-state");
    this.dot = make("i", "ml-dot");
    this.dot.ariaHidden = "true";
    this.stateText = make("span", "ml-state-text");
    this.tools = make("span", "ml-tools");
    this.last = make("b", "ml-last");
    this.change = make("span", "ml-change");
    this.state.append(this.dot, this.stateText);
    this.element.append(this.words, this.state, this.tools, this.last, this.change);
    this._detail = "";
    this._names = [];
  }

  /** What a view has to say: `detail` such as "1m", `last` as text, `change` as a fraction. */
  set({ detail, last, change }) {
    if (detail !== undefined && detail !== this._detail) {
      this._detail = detail;
      this._say();
    }
    if (last !== undefined) put(this.last, last);
    if (change !== undefined) {
      put(this.change, Number.isFinite(change) ? `${arrow(change)} ${percent(change)}` : "");
      const direction = change > 0 ? "up" : change < 0 ? "down" : "";
      if (this.change.dataset.direction !== direction) this.change.dataset.direction = direction;
    }
  }

  /** Exchange and symbol. */
  name(...names) {
    this._names = names;
    this._say();
  }

  /** The state's word and text. */
  show({ word, text }) {
    put(this.stateText, text);
    if (this.state.dataset.state !== word) this.state.dataset.state = word;
  }

  _say() {
    const [exchange, ...names] = this._names.filter(Boolean);
    put(this.exchange, exchange ? `${exchange} · ` : "");
    put(this.rest, [...names, this._detail].filter(Boolean).join(" · "));
  }
}
