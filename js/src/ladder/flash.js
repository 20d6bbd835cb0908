/** Levels that have just changed, so that they can flash: briefly, and only while there is time to paint it. */

export const FLASH_MS = 150;

const BUDGET_MS = 5;
const MANY = 0.5; // when more than that share of the levels is new, everything has moved: nothing flashes

export class Flashes {
  constructor({ still = false } = {}) {
    this._still = still;
    this._sizes = { bids: new Map(), asks: new Map() };
    this._at = { bids: new Map(), asks: new Map() };
    this._group = null;
    this._paintMs = 0;
  }

  /** A paint took so long. */
  painted(ms) {
    this._paintMs += (ms - this._paintMs) * 0.1;
  }

  /** Whether there is time to flash. */
  get affordable() {
    return !this._still && this._paintMs < BUDGET_MS;
  }

  /** Compare a book with the one before. */
  take(book, now) {
    const comparable = this._group === book.group;
    this._group = book.group;
    for (const name of ["bids", "asks"]) {
      const { prices, sizes } = book[name];
      const former = this._sizes[name];
      const changed = [];
      const next = new Map();
      for (let i = 0; i < prices.length; i += 1) {
        next.set(prices[i], sizes[i]);
        if (former.get(prices[i]) !== sizes[i]) changed.push(prices[i]);
      }
      this._sizes[name] = next;
      if (!comparable || !this.affordable || changed.length > Math.max(prices.length * MANY, 3)) continue;
      for (const price of changed) this._at[name].set(price, now);
    }
  }

  /** How strongly a level flashes now, 0 to 1. */
  strength(name, price, now) {
    const at = this._at[name].get(price);
    if (at === undefined) return 0;
    const left = 1 - (now - at) / FLASH_MS;
    if (left <= 0) this._at[name].delete(price);
    return Math.max(left, 0);
  }

  /** Whether anything flashes still; forgets what does not. */
  alive(now) {
    let some = false;
    for (const at of Object.values(this._at)) {
      for (const [price, when] of at) {
        if (now - when < FLASH_MS) some = true;
        else at.delete(price);
      }
    }
    return some;
  }
}
