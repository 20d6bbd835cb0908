/** The order book as a ladder. */

import { Kind } from "./frame.js";
import { arrow, formatter } from "./numbers.js";
import { widget } from "./widget.js";
import { between, cost, read, tradedLevels } from "./ladder/book.js";
import { Brush } from "./ladder/brush.js";
import { draw } from "./ladder/draw.js";
import { Flashes } from "./ladder/flash.js";
import { SPREAD, columnsFor, levelAt, rowsFor, yOf } from "./ladder/layout.js";
import { Parts } from "./ladder/parts.js";
import { Place } from "./ladder/place.js";
import { another, decimalsOf, steps } from "./ladder/steps.js";
import { badge, badgeTitle, costLines, sentence, tableRows } from "./ladder/words.js";

const TABLE_MS = 3000;
const TABLE_LEVELS = 5;
const PAGE = 5;
const RELAX = 0.97;
const NARROW = 420;

class BookLadder {
  constructor(stage) {
    this.stage = stage;
    this.parts = new Parts(stage.body, {
      step: (by) => this.regroup(by),
      point: (y) => this.point(y),
      leave: () => this.leave(),
      key: (key) => this.press(key),
    });
    this.brush = new Brush(this.parts.canvas);
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.flashes = new Flashes({ still });
    this.place = new Place({ still });
    this.book = null;
    this.pointed = null;
    this.tableAt = -Infinity;
    this.forget();
    for (const trait of ["depth", "price_decimals", "size_decimals"]) stage.onChange(trait, () => this.forget());
    stage.onChange("symbol", () => this.another());
  }

  /** Another symbol: not a number of the former one is shown below its name. */
  another() {
    this.book = null;
    this.stage.frames.delete(Kind.BOOK);
    this.stage.header.set({ last: "" });
    this.parts.clear();
    this.forget();
  }

  /** Widths and scales of what is no longer shown. */
  forget() {
    this.widest = { size: "", price: "", total: "", value: "" };
    this.scale = { size: 0, total: 0 };
    this.place.release();
    this.pointed = null;
    this.parts.name(this.stage.get("symbol"));
    this.stage.invalidate();
  }

  resized(width, height) {
    this.parts.resized(height);
    this.brush.resize(width, this.parts.height);
  }

  themed() {
    this.brush.family = this.stage.theme.font;
  }

  paint(frames, now) {
    const begun = performance.now();
    const frame = frames.findLast((one) => one.kind === Kind.BOOK);
    if (frame) this.take(read(frame), now);
    const mark = badge(this.book, this.stage.link.state, formatter(0));
    this.parts.badge(mark, badgeTitle(this.book));
    if (!this.book) return this.showNone();
    const moves = this.show(now);
    this.tell(now);
    this.flashes.painted(performance.now() - begun);
    if (moves || this.flashes.alive(now)) this.stage.invalidate();
    return undefined;
  }

  showNone() {
    const { brush, stage } = this;
    brush.begin();
    this.stage.root.mlView.drawn = {};
    if (stage.root.dataset.state === "waiting" || stage.get("notice")) return; // the page says so already
    brush.font(13);
    brush.centre(`Waiting for the book of ${stage.get("symbol")}.`, brush.width / 2, brush.height / 2, stage.theme.dim);
  }

  take(book, now) {
    if (this.book && this.book.group !== book.group) this.forget();
    this.book = book;
    this.traded = tradedLevels(book);
    this.flashes.take(book, now);
    const [trade, former] = book.trades;
    if (trade) this.header(trade, former);
    const { bids, asks } = book;
    const greatest = (column) => column.reduce((most, one) => Math.max(most, one), 0);
    const relax = (before, most) => Math.max(most, before * RELAX) || 1;
    this.scale = {
      size: relax(this.scale.size, Math.max(greatest(bids.sizes), greatest(asks.sizes))),
      total: relax(this.scale.total, Math.max(bids.totals.at(-1) ?? 0, asks.totals.at(-1) ?? 0)),
    };
    this.write = this.writers();
  }

  /** How many levels there are; where there is little room the symbol comes first. */
  detail(rows) {
    if (this.brush.width < NARROW) return "";
    const depth = this.stage.get("depth");
    return `${rows < depth ? `${rows} of ` : ""}${depth} level${depth === 1 ? "" : "s"}`;
  }

  header(trade, former) {
    const write = formatter(this.stage.get("price_decimals"));
    const direction = former ? trade.price - former.price : 0;
    this.stage.header.set({ last: `${direction ? arrow(direction) : ""} ${write(trade.price)}`.trim() });
  }

  writers() {
    const { base = "", quote = "" } = this.stage.get("instrument") ?? {};
    const decimals = this.stage.get("price_decimals");
    const { group } = this.book;
    return {
      base,
      quote,
      price: formatter(group ? decimalsOf(group) : decimals),
      spread: formatter(decimals),
      fine: formatter(decimals + 1),
      size: formatter(this.stage.get("size_decimals")),
      whole: formatter(0),
    };
  }

  /** Where everything is now. */
  layout() {
    const { brush, book, write, widest } = this;
    const rows = rowsFor(brush.height, this.stage.get("depth"));
    const text = { size: Math.min(rows.row - 2, 13), small: Math.min(rows.row - 2.5, 11) };
    const wider = (name, value) => {
      if (value.length > widest[name].length) widest[name] = value;
      return brush.widthOf(widest[name], text.size);
    };
    const all = [book.bids, book.asks];
    const most = (column) => Math.max(...all.map((side) => side[column].at(-1) ?? 0), 0);
    const best = book.best.ask || book.best.bid;
    const least = book.group && book.known ? "≥" : "";
    const price = Math.max(wider("price", write.price(most("prices"))), brush.widthOf(write.fine(best), text.size));
    const columns = columnsFor(brush.width, {
      size: wider("size", least + write.size(this.scale.size)),
      price: price + 4, // the best ones are bold
      total: wider("total", least + write.size(most("totals"))),
      value: wider("value", least + write.whole(most("values"))),
      bps: brush.widthOf("\u2212000.00", text.size),
      trade: brush.widthOf(write.size(10), text.small),
    });
    return { rows, columns, text };
  }

  show(now) {
    const { book, write, scale, place, flashes } = this;
    const { rows, columns, text } = this.layout();
    this.rows = rows;
    this.stage.header.set({ detail: this.detail(rows.rows) });
    const moves = place.settle(book, rows, now);
    this.follow();
    const best = { asks: book.best.bid, bids: book.best.ask };
    const drawn = draw(this.brush, {
      book,
      rows,
      columns,
      text,
      scale,
      write,
      shift: place.shift,
      theme: this.stage.theme,
      traded: this.traded,
      flash: (name, price) => flashes.strength(name, price, now),
      pointed: this.pointed,
      reference: (name) => write.price(best[name]),
    });
    this.stage.root.mlView.drawn = { ...drawn, shift: place.shift, row: rows.row, last: this.stage.header.last.textContent };
    this.card();
    return moves;
  }

  // What somebody points at

  /** The pointer is at a height: the level there stays where it is. */
  point(y) {
    if (!this.book || !this.rows) return;
    const counts = { bids: this.book.bids.prices.length, asks: this.book.asks.prices.length };
    this.aim(levelAt(this.rows, y, this.place.shift, counts));
  }

  leave() {
    this.aim(null);
  }

  aim(level) {
    this.pointed = level;
    if (level) {
      const price = this.book[level.name].prices[level.index];
      this.place.hold(level.name, price, yOf(this.rows, level.name, level.index) + this.place.shift);
    } else this.place.release();
    this.stage.invalidate();
  }

  /** The level that is held may be another one in the newest book. */
  follow() {
    const { held } = this.place;
    if (!held) return;
    const index = this.book[held.name].prices.indexOf(held.price);
    this.pointed = index < 0 ? null : { name: held.name, index };
  }

  card() {
    const { pointed, book, rows, write, place } = this;
    if (!pointed) return this.parts.hideCard();
    const y = yOf(rows, pointed.name, pointed.index) + place.shift;
    const lines = costLines(cost(book, pointed.name, pointed.index), pointed.name, write);
    const spread = [rows.middle + place.shift, rows.middle + place.shift + SPREAD];
    return this.parts.showCard(lines, { y, row: rows.row, spread, above: pointed.name === "asks" });
  }

  // Keys

  press(key) {
    const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE, PageDown: PAGE }[key];
    if (by) this.move(by);
    else if (key === "+" || key === "=") this.regroup(1);
    else if (key === "-" || key === "_") this.regroup(-1);
    else if (key === " ") this.stage.set("paused", !this.stage.get("paused"));
    else if (key === "Escape") this.leave();
    else return false;
    return true;
  }

  /** Move the cursor down the page by levels: asks, the best of them last, then bids. */
  move(by) {
    if (!this.book || !this.rows) return;
    const { bids, asks } = this.book;
    const count = asks.prices.length + bids.prices.length;
    if (!count) return;
    const start = by < 0 ? asks.prices.length : asks.prices.length - 1;
    const { pointed } = this;
    const at = pointed && (pointed.name === "asks" ? asks.prices.length - 1 - pointed.index : asks.prices.length + pointed.index);
    const next = Math.max(0, Math.min(count - 1, (at ?? start) + by));
    const level =
      next < asks.prices.length
        ? { name: "asks", index: asks.prices.length - 1 - next }
        : { name: "bids", index: next - asks.prices.length };
    this.aim(level);
    const { held } = this.place;
    held.y = Math.max(this.rows.top, Math.min(this.rows.bottom - this.rows.row, held.y));
    this.parts.say(sentence(cost(this.book, level.name, level.index), level.name, this.write));
  }

  regroup(by) {
    if (!this.book) return;
    const { tick = 0 } = this.stage.get("instrument") ?? {};
    const found = steps(tick, between(this.book.best)?.middle || this.book.best.bid || this.book.best.ask);
    const step = another(found, this.stage.get("group"), by);
    if (step === this.stage.get("group")) return;
    this.stage.set("group", step);
    this.parts.say(step ? `levels joined in steps of ${step}` : "every level");
  }

  /** Whatever is not in the picture: the price step, and the table for screen readers. */
  tell(now) {
    const { group } = this.book;
    const { tick = 0 } = this.stage.get("instrument") ?? {};
    const step = group || tick;
    this.parts.step(step ? formatter(decimalsOf(step))(step) : "off", group > 0);
    if (now - this.tableAt < TABLE_MS) return;
    this.tableAt = now;
    const what = between(this.book.best);
    const spread = what ? `spread ${this.write.spread(what.spread)}` : "no spread";
    const caption = `Order book of ${this.stage.get("symbol")}, ${spread}`;
    this.parts.table.show(caption, tableRows(this.book, TABLE_LEVELS, this.write));
  }

  destroy() {
    this.parts.destroy();
  }
}

export default widget("book_ladder", (stage) => new BookLadder(stage));
