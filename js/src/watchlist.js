/** Several symbols with price, change, sparkline, spread and volume; one of them is selected. */

import { Kind } from "./frame.js";
import { WatchTable } from "./lists/watch_table.js";
import { checksum, closesOf, nextSort, orderOf, rowsOf } from "./lists/watch.js";
import STYLE from "./lists/watch.css";
import { percent } from "./numbers.js";
import { widget } from "./widget.js";

const ARRANGED_MS = 1000;

class Watchlist {
  constructor(stage) {
    this.stage = stage;
    stage.root.append(Object.assign(document.createElement("style"), { textContent: STYLE }));
    this.table = new WatchTable(stage.body, {
      sort: (name) => this._sort(nextSort(stage.get("sort"), name)),
      choose: (symbol) => this._choose(symbol),
    });
    this.arranged = -Infinity;
    this._fill();
    stage.onChange("symbols", () => this._fill());
    stage.onChange("selected", () => this._point(stage.get("selected")));
    stage.onChange("sort", () => this._arrangeSoon());
    stage.onChange("decimals", () => this._show());
    this.table.element.addEventListener("keydown", (event) => this._key(event));
  }

  _fill() {
    this.symbols = this.stage.get("symbols");
    this.id = checksum(this.symbols);
    this.rows = [];
    this.closes = [];
    this.since = 0;
    this.order = this.symbols.map((_, at) => at);
    this.table.fill(this.symbols);
    const count = this.symbols.length;
    this.stage.header.set({ detail: count === 1 ? "1 symbol" : `${count} symbols` });
    this._point(this.stage.get("selected"));
  }

  _sort(sort) {
    this.stage.set("sort", sort);
    this._arrangeSoon();
  }

  _choose(symbol) {
    this.stage.set("selected", symbol);
    this._point(symbol);
    const row = this.rows[this.symbols.indexOf(symbol)];
    if (row) this.stage.announce(`${symbol} selected, ${row.last}, ${percent(row.change)}`);
  }

  _point(cursor) {
    this.cursor = cursor;
    this.table.point(this.stage.get("selected"), cursor);
    this._note();
  }

  _arrangeSoon() {
    this.arranged = -Infinity;
    this.stage.invalidate();
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("button")) return;
    const at = this.order.indexOf(this.symbols.indexOf(this.cursor));
    const last = this.order.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (to !== undefined) {
      const place = this.order[Math.max(0, Math.min(to, last))];
      this._point(this.symbols[place]);
      this.table.rows[place].element.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" || event.key === " ") this._choose(this.cursor);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  resized(width) {
    this.table.resize(width);
    this._draw();
  }

  themed() {
    this._draw();
  }

  paint(frames, now) {
    // Between two lists of symbols there may still be frames of the former one.
    for (const frame of frames.filter(({ id }) => id === this.id)) {
      if (frame.kind === Kind.WATCH) {
        ({ rows: this.rows, since: this.since } = rowsOf(frame));
        this._show();
      }
      if (frame.kind === Kind.SPARKS) {
        this.closes = closesOf(frame);
        this._draw();
      }
    }
    if (now - this.arranged >= ARRANGED_MS) this._arrange(now);
    this._note();
  }

  /** Rows change their places once a second at most, so that they can be read and met. */
  _arrange(now) {
    this.arranged = now;
    const sort = this.stage.get("sort");
    this.order = orderOf(this.symbols, this.rows, sort);
    this.table.arrange(this.order);
    this.table.mark(sort, this.since);
  }

  _show() {
    const decimals = this.stage.get("decimals");
    this.rows.forEach((numbers, at) => this.table.rows[at].show(numbers, decimals[at] ?? 2));
  }

  _draw() {
    this.closes.forEach((closes, at) => this.table.rows[at].draw(closes, this.stage.theme));
  }

  _note() {
    const { symbols, order, rows, closes } = this;
    const named = (list) => Object.fromEntries(list.map((value, at) => [symbols[at], value]));
    const selected = this.stage.get("selected");
    this.stage.root.mlView.drawn = {
      selected, cursor: this.cursor, order: order.map((at) => symbols[at]), rows: named(rows), closes: named(closes),
    };
  }
}

export default widget("watchlist", (stage) => new Watchlist(stage));
