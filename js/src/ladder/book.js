/** What a frame of the order book says, and what follows from it. */

import { Flag, columns } from "../frame.js";

const FACTS = 9;

/**
 * A BOOK frame taken apart: sides as `{prices, sizes, totals, values}`, the best first; `totals` and `values` are sums
 * from the best level on, of sizes and of price times size.
 * @param {{numbers: Float64Array, counts: number[], flags: number, id: number}} frame
 */
export function read(frame) {
  const [n, m] = frame.counts;
  const [bidPrices, bidSizes, askPrices, askSizes, facts] = columns(frame, n, n, m, m, FACTS);
  const [bid, bidSize, ask, askSize, compared, equal, group, lowest, highest] = facts;
  let at = 2 * (n + m) + FACTS;
  const grouped = (count) => (group ? frame.numbers.subarray(at, (at += count)) : null);
  const bidValues = grouped(n);
  const askValues = grouped(m);
  return {
    id: frame.id,
    bids: side(bidPrices, bidSizes, bidValues),
    asks: side(askPrices, askSizes, askValues),
    best: { bid, bidSize, ask, askSize },
    compared,
    equal,
    group,
    known: lowest || highest ? [lowest, highest] : null,
    trades: tradesOf(frame.numbers.subarray(at)),
    verified: (frame.flags & Flag.VERIFIED) !== 0,
    loading: (frame.flags & Flag.LOADING) !== 0,
    partial: (frame.flags & Flag.PARTIAL) !== 0,
  };
}

function side(prices, sizes, values) {
  const totals = new Float64Array(prices.length);
  const worth = new Float64Array(prices.length);
  let total = 0;
  let value = 0;
  for (let i = 0; i < prices.length; i += 1) {
    totals[i] = total += sizes[i];
    worth[i] = value += values ? values[i] : prices[i] * sizes[i];
  }
  return { prices, sizes, totals, values: worth };
}

function tradesOf(numbers) {
  const trades = [];
  for (let i = 0; i + 2 < numbers.length; i += 3) {
    trades.push({ price: numbers[i], size: Math.abs(numbers[i + 1]), bought: numbers[i + 1] > 0, time: numbers[i + 2] });
  }
  return trades;
}

/**
 * What lies between the best prices; null where a side is empty. The microprice is the middle weighted by the sizes
 * on the other side: more on the bid draws it up.
 */
export function between({ bid, bidSize, ask, askSize }) {
  if (!bid || !ask) return null;
  const middle = (bid + ask) / 2;
  return {
    middle,
    spread: ask - bid,
    bps: ((ask - bid) / middle) * 1e4,
    microprice: (bid * askSize + ask * bidSize) / (bidSize + askSize),
    crossed: ask < bid,
  };
}

/** The bids' share of everything that is shown, 0 to 1; half where nothing is. */
export function imbalance({ bids, asks }) {
  const bought = bids.totals.at(-1) ?? 0;
  const sold = asks.totals.at(-1) ?? 0;
  return bought + sold ? bought / (bought + sold) : 0.5;
}

/**
 * What it costs to take everything up to a level: size, average price, value and by how many bps the average is worse
 * than the middle (than the best price where there is no middle).
 * @param {ReturnType<typeof read>} book
 * @param {"bids" | "asks"} name
 * @param {number} index of the level, 0 the best
 */
export function cost(book, name, index) {
  const { totals, values, prices } = book[name];
  const average = values[index] / totals[index];
  const { bid, ask } = book.best;
  const from = between(book.best)?.middle ?? ((name === "asks" ? ask : bid) || prices[0]);
  const bps = ((average - from) / from) * 1e4 * (name === "asks" ? 1 : -1);
  return { size: totals[index], value: values[index], average, bps, price: prices[index], least: atLeast(book, prices[index]) };
}

/** Where a price is among levels: its index, or that of the first one that is worse. */
export function indexOf({ prices }, price, name) {
  const worse = name === "asks" ? (other) => other >= price : (other) => other <= price;
  let i = 0;
  while (i < prices.length && !worse(prices[i])) i += 1;
  return i;
}

/**
 * The levels at which the newest trades were: `"asks 100.5"` to the newest trade there and its rank, 0 the newest.
 * A taker who buys meets asks, which are rounded up where levels are joined; one who sells meets bids.
 */
export function tradedLevels(book) {
  const found = new Map();
  book.trades.forEach((trade, rank) => {
    const name = trade.bought ? "asks" : "bids";
    const { prices } = book[name];
    const price = book.group ? joined(trade.price, book.group, trade.bought) : trade.price;
    const i = indexOf(book[name], price - (trade.bought ? 1 : -1) * (book.group * 0.25), name);
    const near = i < prices.length && Math.abs(prices[i] - price) <= (book.group || 0) * 0.25;
    const key = near ? `${name} ${prices[i]}` : "";
    if (near && !found.has(key)) found.set(key, { ...trade, rank });
  });
  return found;
}

function joined(price, step, up) {
  const steps = price / step;
  const noise = Math.abs(steps) * 1e-12;
  return (up ? Math.ceil(steps - noise) : Math.floor(steps + noise)) * step;
}

/** What stands before numbers of a joined level that reaches beyond what is known: there is at least so much up to it. */
export function atLeast(book, price) {
  if (!book.group || !book.known) return "";
  return price < book.known[0] || price > book.known[1] ? "≥" : "";
}
