/** Draws trades as rows: time, price, size over its bar, side. */

import { arrow, split } from "../numbers.js";
import { faint } from "../theme.js";
import { clock, share } from "./trades.js";

const ROW = 19;
const HEAD = 22;
const NARROW = 300;
const WIDE = 440;

/** How many rows a height has place for. */
export function rowsIn(height) {
  return Math.max(Math.floor((height - HEAD) / ROW), 1);
}

export class TradeTable {
  constructor(surface) {
    this.surface = surface;
    this.top = HEAD;
  }

  /**
   * Draw the rows from `at` on.
   * @returns what was drawn: the texts of each row, the newest first, and of which trades they are
   */
  draw(trades, at, look) {
    const { surface } = this;
    const { theme } = look;
    surface.clear(theme.ground);
    this._places(look);
    this._titles(look);
    if (!trades?.count) {
      if (trades) this._nothing(look);
      return { at: 0, rows: [], id: 0, total: trades?.total ?? 0 };
    }
    const { id, total, rate, large, count } = trades;
    const rows = [];
    for (let row = at; row < Math.min(at + look.visible, count); row += 1) {
      rows.push(this._row(trades, row, HEAD + (row - at) * ROW, look));
    }
    return { at, rows, id, total, rate, large };
  }

  _places({ theme }) {
    const { width } = this.surface;
    this.font = `12.5px ${theme.font}`;
    this.bold = `600 12.5px ${theme.font}`;
    this.narrow = width < NARROW;
    if (width >= WIDE) {
      // Bars have a place of their own, to the right of the numbers.
      this.x = { time: 10, price: 196, size: 296, arrow: 314, bar: 330 };
      return;
    }
    const timed = this.narrow ? 66 : 96;
    const size = width - 26;
    this.x = { time: 10, price: timed + (size - timed) * 0.5, size, arrow: width - 12, bar: null };
  }

  _titles({ theme, missed }) {
    const { surface, x } = this;
    const font = `11px ${theme.font}`;
    const y = HEAD / 2;
    if (missed === null) {
      surface.text(this.narrow ? "UTC" : "time (UTC)", x.time, y, theme.dim, { font });
      surface.text("price", x.price, y, theme.dim, { align: "right", font });
      surface.text("size", x.size, y, theme.dim, { align: "right", font });
    } else {
      surface.rect(0, 0, surface.width, HEAD, faint(theme.accent, 0.16));
      const words = missed ? `▲ ${missed} newer` : "▲ newest";
      surface.text(`${words} · Home or a click returns`, x.time, y, theme.text, { font });
    }
    surface.rect(0, HEAD - 1, surface.width, 1, theme.line);
  }

  _nothing({ theme, least }) {
    const words = least ? `No trade of ${least} or more yet.` : "No trade yet.";
    const { surface } = this;
    surface.text(words, surface.width / 2, surface.height / 2, theme.dim, { align: "center", font: this.font });
  }

  _row(trades, row, y, { theme, price, size, bars }) {
    const { surface, x } = this;
    const sold = trades.sizes[row] < 0;
    const amount = Math.abs(trades.sizes[row]);
    const large = amount >= trades.large;
    const fill = sold ? theme.down : theme.up;
    this._bar(share(amount, trades.largest, bars), y, fill, large);
    const middle = y + ROW / 2 + 0.5;
    const font = large ? this.bold : this.font;
    const side = sold ? theme.downText : theme.upText;
    const time = this._time(trades, row, middle, theme);
    const former = row + 1 < trades.count ? price(trades.prices[row + 1]) : "";
    const [same, other] = split(price(trades.prices[row]), former);
    const told = size(amount);
    surface.text(other, x.price, middle, side, { align: "right", font });
    const start = x.price - (other ? surface.context.measureText(other).width : 0);
    if (same) surface.text(same, start, middle, theme.dim, { align: "right", font });
    surface.text(told, x.size, middle, theme.text, { align: "right", font });
    surface.text(arrow(sold ? -1 : 1), x.arrow, middle, side, { align: "center", font: this.font });
    return [time, same + other, told, sold ? "sell" : "buy", large];
  }

  _bar(part, y, fill, large) {
    const { surface, x } = this;
    if (large) surface.rect(0, y + 1, 3, ROW - 2, fill);
    if (x.bar !== null) {
      surface.rect(x.bar, y + 3, part * (surface.width - x.bar - 10), ROW - 6, large ? fill : faint(fill, 0.5));
      return;
    }
    const length = part * (surface.width - x.price - 14);
    surface.rect(surface.width - length, y + 1, length, ROW - 2, faint(fill, large ? 0.42 : 0.18));
  }

  _time(trades, row, middle, theme) {
    const { surface, x, font } = this;
    const [second, rest] = clock(trades.times[row]);
    const [former] = row + 1 < trades.count ? clock(trades.times[row + 1]) : [""];
    const [same, other] = split(second, former);
    let at = x.time;
    for (const [words, colour] of [[same, theme.dim], [other, theme.text], [this.narrow ? "" : rest, theme.dim]]) {
      if (!words) continue;
      surface.text(words, at, middle, colour, { font });
      at += surface.context.measureText(words).width;
    }
    return second + rest;
  }
}
