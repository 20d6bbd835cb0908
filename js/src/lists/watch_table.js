/** The watchlist's table: rows of cells, of which only those are touched that change. */

import { put } from "../header.js";
import { arrow, formatter, percent, short, split } from "../numbers.js";
import { faint } from "../theme.js";
import { SINCE, points } from "./watch.js";

/** Columns by name, with their titles. */
export const COLUMNS = [
  ["symbol", "symbol"],
  ["spark", "1 h"],
  ["last", "last"],
  ["change", "change"],
  ["spread", "spread bps"],
  ["volume", "volume"],
];

/** How wide it has to be for a column, in pixels. */
const NEEDED = { spark: 310, spread: 430, volume: 500 };

const make = (kind, name, attributes = {}) => {
  const element = document.createElement(kind);
  if (name) element.className = name;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

class Row {
  constructor(symbol, id) {
    this.symbol = symbol;
    this.element = make("tr", "", { role: "row", id, "data-symbol": symbol });
    this.cells = {};
    for (const [name] of COLUMNS) {
      this.cells[name] = make("td", `ml-${name}`, { role: "gridcell" });
      this.element.append(this.cells[name]);
    }
    this.cells.symbol.textContent = symbol;
    this.canvas = make("canvas", "", { "aria-hidden": "true" });
    this.cells.spark.append(this.canvas);
    this.same = make("span", "ml-same");
    this.other = make("span");
    this.cells.last.append(this.same, this.other);
    this.price = "";
  }

  show(numbers, decimals) {
    this._last(formatter(decimals)(numbers.last));
    const { change, spread, volume } = numbers;
    put(this.cells.change, Number.isFinite(change) ? `${arrow(change)} ${percent(change)}` : "–");
    const direction = change > 0 ? "up" : change < 0 ? "down" : "";
    if (this.cells.change.dataset.direction !== direction) this.cells.change.dataset.direction = direction;
    put(this.cells.spread, formatter(2)(spread));
    put(this.cells.volume, short(volume));
  }

  _last(price) {
    if (price === this.price) return;
    const [same, other] = this.price ? split(price, this.price) : ["", price];
    put(this.same, same);
    put(this.other, other);
    this.price = price;
  }

  /** Draw the closes as a line. */
  draw(closes, theme) {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const line = points(closes, width - 6, height - 6).map(([x, y]) => [x + 2, y + 3]);
    if (!line.length) return;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    // The line's own direction: it may be another one than that of the day.
    const colour = line.at(-1)[1] <= line[0][1] ? theme.up : theme.down;
    context.beginPath();
    for (const [x, y] of line) context.lineTo(x, y);
    context.strokeStyle = colour;
    context.lineWidth = 1.3;
    context.lineJoin = "round";
    context.stroke();
    context.lineTo(line.at(-1)[0], height);
    context.lineTo(line[0][0], height);
    context.fillStyle = faint(colour, 0.14);
    context.fill();
    context.beginPath();
    context.arc(...line.at(-1), 2, 0, 7);
    context.fillStyle = colour;
    context.fill();
  }
}

let tables = 0;

export class WatchTable {
  /**
   * @param {HTMLElement} place
   * @param {{sort: (name: string) => void, choose: (symbol: string) => void}} acts
   */
  constructor(place, acts) {
    this.name = `ml-watch-${(tables += 1)}`;
    // JupyterLab would take the arrow keys for its cells.
    const attributes = { tabindex: "0", "data-lm-suppress-shortcuts": "true" };
    // What has the focus is the grid, else nobody is told which row the keyboard is at.
    const grid = { role: "grid", "aria-label": "Symbols; Enter selects" };
    this.element = make("div", "ml-watch", { ...attributes, ...grid });
    this.table = make("table", "", { role: "presentation" });
    this.body = make("tbody");
    this.table.append(this._head(acts.sort), this.body);
    this.element.append(this.table);
    place.append(this.element);
    this.rows = [];
    this.body.addEventListener("click", (event) => {
      const symbol = event.target.closest("tr")?.dataset.symbol;
      if (symbol) acts.choose(symbol);
    });
  }

  _head(sort) {
    const line = make("tr", "", { role: "row" });
    this.titles = {};
    for (const [name, title] of COLUMNS) {
      const cell = make("th", `ml-${name}`, { scope: "col", role: "columnheader" });
      const text = make(name === "spark" ? "span" : "button");
      text.textContent = title;
      if (name !== "spark") text.addEventListener("click", () => sort(name));
      cell.append(text);
      line.append(cell);
      this.titles[name] = { cell, text, title };
    }
    this.titles.spread.cell.title = "Best ask less best bid, in hundredths of a percent of the middle";
    this.titles.volume.cell.title = "Of 24 hours, in the quote currency";
    const head = make("thead");
    head.append(line);
    return head;
  }

  /** Another list of symbols. */
  fill(symbols) {
    this.rows = symbols.map((symbol, at) => new Row(symbol, `${this.name}-${at}`));
    this.body.replaceChildren(...this.rows.map((row) => row.element));
  }

  /** Show the rows in this order. */
  arrange(order) {
    const wanted = order.map((at) => this.rows[at].element);
    if (wanted.some((element, at) => this.body.children[at] !== element)) this.body.append(...wanted);
  }

  /** Mark the column that is sorted by. */
  mark(sort, since) {
    const name = sort.replace("-", "");
    const [words, sentence] = SINCE[since] ?? SINCE[0];
    for (const [column, { cell, text, title }] of Object.entries(this.titles)) {
      const sorted = column === name ? (sort.startsWith("-") ? "descending" : "ascending") : "none";
      if (column !== "spark" && cell.getAttribute("aria-sort") !== sorted) cell.setAttribute("aria-sort", sorted);
      put(text, column === "change" ? `${title} ${words}` : title);
    }
    if (this.titles.change.cell.title !== sentence) this.titles.change.cell.title = sentence;
  }

  /** Mark the row that is selected, and the one that the keyboard is at. */
  point(selected, cursor) {
    for (const row of this.rows) {
      const chosen = String(row.symbol === selected);
      if (row.element.getAttribute("aria-selected") !== chosen) row.element.setAttribute("aria-selected", chosen);
      row.element.classList.toggle("ml-cursor", row.symbol === cursor);
      if (row.symbol === cursor) this.element.setAttribute("aria-activedescendant", row.element.id);
    }
  }

  /** Columns come and go with the width. */
  resize(width) {
    for (const [name, needed] of Object.entries(NEEDED)) this.table.classList.toggle(`ml-no-${name}`, width < needed);
  }
}
