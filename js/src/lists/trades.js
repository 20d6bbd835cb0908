/** Trades out of frames, and which of them are looked at: the newest, or those that somebody has scrolled back to. */

import { Kind, columns } from "../frame.js";

/** A frame of trades: columns, the newest first, and what is said about them all. */
export function tradesOf(frame) {
  const [count, more] = frame.counts;
  const [times, prices, sizes, words] = columns(frame, count, count, count, more);
  const [total, rate, large, largest] = words;
  return { id: frame.id, count, times, prices, sizes, total, rate, large, largest };
}

/**
 * What of the trades is shown. At first it is the newest; scrolling back holds what is kept fast, until somebody goes
 * back to the top. Only then are all trades that the kernel keeps asked for, since each frame has few.
 */
export class Reading {
  /** @param {() => void} ask asks the kernel for all that it keeps */
  constructor(ask) {
    this._ask = ask;
    this.clear();
  }

  /** Another symbol. */
  clear() {
    this.live = null;
    this.held = null;
    this.at = 0;
  }

  /** Whether somebody has scrolled back. */
  get back() {
    return this.at > 0;
  }

  /** What has come since somebody has scrolled back. */
  get missed() {
    return this.held && this.live ? Math.max(this.live.total - this.held.total, 0) : 0;
  }

  /** The trades to look at. */
  get trades() {
    return this.back && this.held ? this.held : this.live;
  }

  /** The uppermost row, given so many that are seen. */
  first(visible) {
    return Math.max(Math.min(this.at, (this.trades?.count ?? 0) - visible), 0);
  }

  take(frame) {
    if (frame.kind === Kind.TRADES) this.live = tradesOf(frame);
    if (frame.kind !== Kind.TRADES_KEPT) return;
    const kept = tradesOf(frame);
    this.live ??= kept;
    if (!this.back || !this.held) this.held = this.back ? kept : null;
  }

  /** Go so many rows back in time; negative: towards the newest. */
  move(rows, visible) {
    this.go(this.at + rows, visible);
  }

  /** Have this row uppermost, as far as there are rows. */
  go(row, visible) {
    const began = !this.back;
    const last = Math.max((this.trades?.count ?? 0) - visible, 0);
    // Before what is kept has come, there is no telling how far back it goes.
    this.at = Math.max(Math.min(row, this.held || !this.live ? last : Infinity), 0);
    if (!this.back) this.held = null;
    else if (began) this._ask();
  }

  /** Rows that there are can be fewer than somebody wanted to go back. */
  settle(visible) {
    if (this.back && this.held) this.at = Math.max(Math.min(this.at, this.held.count - visible), 0);
    if (!this.back) this.held = null;
  }
}

const pad = (value, digits) => String(value).padStart(digits, "0");

/** Microseconds since 1970 as the time of day in UTC, in two parts: to the second, and the milliseconds. */
export function clock(microseconds) {
  const milliseconds = Math.floor(microseconds / 1000) % 86_400_000;
  const seconds = Math.floor(milliseconds / 1000);
  const hours = Math.floor(seconds / 3600);
  const text = `${pad(hours, 2)}:${pad(Math.floor(seconds / 60) % 60, 2)}:${pad(seconds % 60, 2)}`;
  return [text, `.${pad(milliseconds % 1000, 3)}`];
}

/** Rows of the table for screen readers: time, price, size, side; the newest `n` trades. */
export function tableRows(trades, n, { price, size }) {
  return Array.from({ length: Math.min(n, trades.count) }, (_, row) => [
    clock(trades.times[row]).join(""),
    price(trades.prices[row]),
    size(Math.abs(trades.sizes[row])),
    trades.sizes[row] < 0 ? "sell" : "buy",
  ]);
}

/** How much of its place a size's bar fills, 0 to 1: as its logarithm, so that small ones are seen beside large ones. */
export function share(size, largest, scale) {
  if (!(largest > 0)) return 0;
  const part = Math.min(Math.abs(size) / largest, 1);
  return scale === "linear" ? part : Math.log1p(9999 * part) / Math.log1p(9999);
}
