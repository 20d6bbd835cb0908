/**
 * Keeps the ladder in its place. Its middle is the spread; but a row that somebody looks at stays where it is, and the
 * rest moves around it. Once it is let go, the ladder glides back.
 */

import { indexOf } from "./book.js";
import { yOf } from "./layout.js";

const GLIDE_MS = 90;

export class Place {
  constructor({ still = false } = {}) {
    this.shift = 0;
    this.held = null;
    this._still = still;
    this._then = 0;
  }

  /** Keep the level of this price at this height. */
  hold(name, price, y) {
    this.held = { name, price, y };
  }

  /** Nobody looks at a row any more. */
  release() {
    this.held = null;
  }

  /**
   * The shift of all rows for this picture.
   * @param {object} book
   * @param {object} rows as of `rowsFor`
   * @param {number} now
   * @returns {boolean} whether it still moves
   */
  settle(book, rows, now) {
    const past = Math.min(now - this._then, 100);
    this._then = now;
    if (this.held) {
      const { name, price, y } = this.held;
      const wanted = y - yOf(rows, name, indexOf(book[name], price, name));
      const most = Math.max(book.bids.prices.length, book.asks.prices.length, 1) * rows.row;
      this.shift = Math.max(-most, Math.min(most, wanted));
      return false;
    }
    this.shift = this._still ? 0 : this.shift * Math.exp(-past / GLIDE_MS);
    if (Math.abs(this.shift) < 0.5) this.shift = 0;
    return this.shift !== 0;
  }
}
