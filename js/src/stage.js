/** What a view stands on: its place on the page, the link to the kernel, colours and size. */

import { Flag, Kind, State } from "./frame.js";
import { put, stateOf } from "./header.js";
import { coloursOf, onThemeChange } from "./theme.js";

const ANNOUNCE_MS = 5000;
const TRAITS = ["symbol", "exchange", "palette", "theme", "height", "notice"];

export class Stage {
  constructor(name, el, link, header, style) {
    this.link = link;
    this.header = header;
    this.root = document.createElement("div");
    this.root.className = "ml-widget";
    this.root.dataset.widget = name;
    this.root.setAttribute("role", "group");
    this.body = Object.assign(document.createElement("div"), { className: "ml-body" });
    this.message = Object.assign(document.createElement("div"), { className: "ml-message" });
    this.message.setAttribute("role", "status");
    this.voice = Object.assign(document.createElement("div"), { className: "ml-hidden" });
    this.voice.setAttribute("aria-live", "polite");
    this.root.append(header.element, this.body, this.message, this.voice);
    el.append(this.root);
    style(this.root);
    this.root.mlView = { last: null, painted: 0, ageMs: 0, drawn: {} };
    this.theme = {};
    this._ends = [];
    this._fresh = new Map();
    this._wanted = true;
    this._seen = false;
    this._onPage = false;
    this._spoken = 0;
    this._reconnecting = 0;
  }

  get frames() {
    return this.link.newest;
  }

  get(name) {
    return this.link.get(name);
  }

  set(name, value) {
    this.link.set(name, value);
  }

  /** Calls back on a trait's change, as long as the view lasts. */
  onChange(name, callback) {
    this._ends.push(this.link.onChange(name, callback));
  }

  /** Something to call when the view ends. */
  onEnd(callback) {
    this._ends.push(callback);
  }

  ask(what, content) {
    this.link.ask(what, content);
  }

  /** Paint at the next frame of the screen, though no frame came. */
  invalidate() {
    this._wanted = true;
    this.link.request();
  }

  /** Say something to whoever cannot see; every few seconds at most. */
  announce(text) {
    const now = performance.now();
    if (now - this._spoken < ANNOUNCE_MS) return;
    this._spoken = now;
    put(this.voice, text);
  }

  /** Begin to show a view. */
  begin(view) {
    this.view = view;
    for (const trait of TRAITS) this.onChange(trait, () => this._dress());
    this._ends.push(onThemeChange(() => this._dress()));
    this._dress();
    this._watchSize();
    this._watchEyes();
    this.link.open(this);
  }

  _dress() {
    const style = getComputedStyle(this.root);
    const prefersDark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    const wish = { palette: this.get("palette"), theme: this.get("theme"), prefersDark };
    this.theme = coloursOf((variable) => style.getPropertyValue(variable), wish);
    for (const name of ["ground", "raised", "text", "dim", "line", "accent", "up", "down", "font"]) {
      this.root.style.setProperty(`--ml-${name}`, this.theme[name]);
    }
    this.root.style.setProperty("--ml-up-text", this.theme.upText);
    this.root.style.setProperty("--ml-down-text", this.theme.downText);
    this.root.style.height = `${this.get("height")}px`;
    this.root.dataset.symbol = this.get("symbol") ?? "";
    this.root.setAttribute("aria-label", `${this.root.dataset.widget.replaceAll("_", " ")} ${this.get("symbol") ?? ""}`);
    this.header.name(this.get("exchange"), this.get("symbol"));
    this.view.themed?.();
    this.invalidate();
  }

  _watchSize() {
    const measured = () => {
      const { width, height } = this.body.getBoundingClientRect();
      // Outside of the page nothing has the page's colours.
      if (!this._onPage && this.root.isConnected) {
        this._onPage = true;
        this._dress();
      }
      if (width && height) this.view.resized?.(width, height);
      this.invalidate();
    };
    const observer = new ResizeObserver(measured);
    observer.observe(this.body);
    this._ends.push(() => observer.disconnect());
    measured();
  }

  _watchEyes() {
    const looked = () => {
      this.link.report();
      if (this.visible()) this.invalidate();
    };
    const observer = new IntersectionObserver((entries) => {
      this._seen = entries.at(-1).isIntersecting;
      looked();
    });
    observer.observe(this.root);
    document.addEventListener("visibilitychange", looked);
    this._ends.push(() => observer.disconnect());
    this._ends.push(() => document.removeEventListener("visibilitychange", looked));
  }

  // For the link

  /** Whether anybody can see it. */
  visible() {
    return this._seen && !document.hidden;
  }

  take(frame) {
    if (frame.flags & Flag.FRESH) {
      this._fresh.clear();
      this.root.dataset.empty = "";
    }
    this._fresh.set(frame.kind, frame);
    // A view that paints through a library, which waits for the screen by itself, has to tell it before.
    if (this.visible()) this.view.took?.(frame);
  }

  /** Paint what is new; the newest frame of it. */
  paint(now) {
    this._showState(now);
    if (!this._fresh.size && !this._wanted) return null;
    // A view that nobody can see keeps its frames for when somebody does.
    if (!this.visible() && this.root.mlView.painted) return null;
    const frames = [...this._fresh.values()].sort((one, other) => one.sequence - other.sequence);
    this._fresh.clear();
    this._wanted = false;
    this.view.paint(frames, now);
    if (frames.some((frame) => frame.kind !== Kind.BLANK)) delete this.root.dataset.empty;
    const newest = frames.at(-1) ?? null;
    if (newest) this._note(newest, now);
    return newest;
  }

  _note(frame, now) {
    const told = this.root.mlView;
    told.last = frame;
    told.painted += 1;
    if (frame.newest) told.ageMs = now - frame.newest / 1000;
  }

  _showState(now) {
    if (this.link.state !== State.RECONNECTING) this._reconnecting = 0;
    else if (!this._reconnecting) this._reconnecting = now;
    const reconnecting = this._reconnecting ? now - this._reconnecting : 0;
    const { state, origin, stale } = this.link;
    const told = stateOf({ state, origin, stale, reconnecting });
    this.header.show(told);
    if (this.root.dataset.state !== told.word) this.root.dataset.state = told.word;
    this._showMessage(told.word);
  }

  _showMessage(word) {
    const symbol = this.get("symbol");
    let text = this.get("notice") || "";
    if (!text && word === "waiting") text = `Waiting for the first record${symbol ? ` of ${symbol}` : ""}.`;
    if (!text && word === "stale" && this.link.stale > 15_000) {
      text = "The kernel is silent: it may be busy or restarted. Run the cell again if this stays.";
    }
    if ((this.message.textContent || "") === text) return;
    const span = document.createElement("span");
    span.textContent = text;
    this.message.replaceChildren(...(text ? [span] : []));
  }

  destroy() {
    this.link.close(this);
    for (const end of this._ends.splice(0)) end();
    this.view.destroy?.();
    this.root.remove();
  }
}
