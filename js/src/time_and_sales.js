/** The newest trades, the newest first, on a canvas. */

import { Surface } from "./lists/canvas.js";
import { TradeTable, rowsIn } from "./lists/trade_table.js";
import { Reading, tableRows } from "./lists/trades.js";
import { put } from "./header.js";
import { HiddenTable } from "./hidden_table.js";
import { formatter, short } from "./numbers.js";
import { widget } from "./widget.js";

const SPOKEN_MS = 5000;
const TABLE_MS = 3000;
const TABLE_ROWS = 10;
const NARROW = 400;

/** Keys and what they do to a reading: rows to move, or a row to go to. */
const KEYS = {
  ArrowDown: (reading, visible) => reading.move(1, visible),
  ArrowUp: (reading, visible) => reading.move(-1, visible),
  PageDown: (reading, visible) => reading.move(visible - 1, visible),
  PageUp: (reading, visible) => reading.move(1 - visible, visible),
  End: (reading, visible) => reading.go(Infinity, visible),
  Home: (reading, visible) => reading.go(0, visible),
  Escape: (reading, visible) => reading.go(0, visible),
};

class TimeAndSales {
  constructor(stage) {
    this.stage = stage;
    this.surface = new Surface(stage.body, "Newest trades; arrow keys scroll back, Home returns");
    this.table = new TradeTable(this.surface);
    this.told = new HiddenTable(stage.body, ["time (UTC)", "price", "size", "side"]);
    this.toldAt = -Infinity;
    this.reading = new Reading(() => stage.ask("whole"));
    this.visible = 0;
    this.spoken = -Infinity;
    this.rate = Object.assign(document.createElement("span"), { className: "ml-rate", title: "Trades a second, lately" });
    this.rate.style.cssText = "min-width:4em;text-align:right;color:var(--ml-dim)";
    stage.header.tools.append(this.rate);
    stage.onChange("symbol", () => this._restart());
    for (const trait of ["least", "rows", "large"]) stage.onChange(trait, () => this._restart());
    for (const trait of ["bars", "price_decimals", "size_decimals"]) stage.onChange(trait, () => stage.invalidate());
    this._listen();
  }

  _listen() {
    const { element } = this.surface;
    element.addEventListener("keydown", (event) => {
      const act = KEYS[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      act(this.reading, this.visible);
      this.stage.invalidate();
    });
    // Only whoever has clicked into it scrolls it; all others scroll the notebook.
    element.addEventListener("wheel", (event) => {
      if (document.activeElement !== element && element.getRootNode().activeElement !== element) return;
      event.preventDefault();
      const rows = Math.sign(event.deltaY) * Math.max(1, Math.round(Math.abs(event.deltaY) / 40));
      this.reading.move(rows, this.visible);
      this.stage.invalidate();
    }, { passive: false });
    element.addEventListener("click", (event) => {
      if (this.reading.back && event.offsetY < this.table.top) this.reading.go(0, this.visible);
      this.stage.invalidate();
    });
  }

  _restart() {
    this.reading.clear();
    this.told.show("", []);
    this.toldAt = -Infinity;
    this.stage.invalidate();
  }

  resized(width, height) {
    this.surface.resize(width, height);
    this.visible = rowsIn(height);
    this.narrow = width < NARROW;
  }

  paint(frames, now) {
    for (const frame of frames) this.reading.take(frame);
    const { stage, reading, visible } = this;
    reading.settle(visible);
    const look = {
      theme: stage.theme,
      price: formatter(stage.get("price_decimals")),
      size: formatter(stage.get("size_decimals")),
      bars: stage.get("bars"),
      missed: reading.back ? reading.missed : null,
      least: stage.get("least"),
      visible: Math.min(visible, reading.back ? Infinity : stage.get("rows")),
    };
    stage.root.mlView.drawn = this.table.draw(reading.trades, reading.first(visible), look);
    if (!reading.live) return;
    this._head(reading.live, look, now);
    this._tell(reading.live, look, now);
  }

  /** Whoever cannot see the canvas reads the newest rows in a table that keeps still for a while. */
  _tell(live, look, now) {
    if (now - this.toldAt < TABLE_MS) return;
    this.toldAt = now;
    this.told.show(`Newest trades of ${this.stage.get("symbol")}`, tableRows(live, TABLE_ROWS, look));
  }

  _head(live, look, now) {
    const { stage } = this;
    const last = live.count ? look.price(live.prices[0]) : "";
    // The first row says the price too, so that where there is no room nothing is lost.
    stage.header.set({ detail: look.least ? `from ${look.least}` : "", last: this.narrow ? "" : last });
    put(this.rate, `${short(live.rate)}/s`);
    if (!live.count || now - this.spoken < SPOKEN_MS) return;
    this.spoken = now;
    const side = live.sizes[0] < 0 ? "sold" : "bought";
    const words = `${stage.get("symbol")} ${last}, ${look.size(Math.abs(live.sizes[0]))} ${side}, ${short(live.rate)} trades a second`;
    this.surface.element.setAttribute("aria-label", `Newest trades: ${words}. Arrow keys scroll back, Home returns.`);
    if (stage.root.contains(this.surface.element.getRootNode().activeElement)) stage.announce(words);
  }
}

export default widget("time_and_sales", (stage) => new TimeAndSales(stage));
