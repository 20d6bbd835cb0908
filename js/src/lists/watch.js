/** What a watchlist's frames say of each symbol, and in which order the symbols are shown. */

import { columns } from "../frame.js";

/** What a change is against, by the number in a frame, and in a sentence's worth. */
export const SINCE = [
  ["24 h", "against the price 24 hours ago, as the exchange says it"],
  ["1 h", "against the first bar of the last hour: the exchange says nothing of 24 hours"],
  ["start", "against the first price that was seen: the exchange says nothing of 24 hours"],
];

/** What tells one list of symbols from another: FNV-1a of 32 bits, as the kernel computes it too. */
export function checksum(symbols) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(symbols.join(","))) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}

/** A row of numbers for each symbol out of a WATCH frame, and what the change is against. */
export function rowsOf(frame) {
  const [count, more] = frame.counts;
  const lengths = [...Array(8).fill(count), more];
  const [last, reference, bid, ask, high, low, volume, time, words] = columns(frame, ...lengths);
  const rows = Array.from(last, (price, at) => ({
    last: price,
    change: price / reference[at] - 1,
    spread: ((ask[at] - bid[at]) / (ask[at] + bid[at])) * 20_000,
    volume: volume[at],
    bid: bid[at],
    ask: ask[at],
    high: high[at],
    low: low[at],
    time: time[at],
  }));
  return { rows, since: words[0] ?? 0 };
}

/** Closes for each symbol out of a SPARKS frame. */
export function closesOf(frame) {
  const [count, closes] = frame.counts;
  return columns(frame, ...Array(count).fill(closes));
}

/**
 * The symbols' places in the order to show them in.
 * @param {string[]} symbols
 * @param {object[]} rows
 * @param {string} sort a column; with - in front the largest first; "" keeps the symbols' own order
 */
export function orderOf(symbols, rows, sort) {
  const places = symbols.map((_, at) => at);
  if (!sort) return places;
  const name = sort.replace("-", "");
  const sign = sort.startsWith("-") ? -1 : 1;
  if (name === "symbol") return places.sort((one, other) => sign * symbols[one].localeCompare(symbols[other]));
  return places.sort((one, other) => {
    const [first, second] = [rows[one]?.[name], rows[other]?.[name]];
    // What is not known comes last either way.
    if (!Number.isFinite(first) || !Number.isFinite(second)) return Number.isFinite(second) - Number.isFinite(first);
    return sign * (first - second) || one - other;
  });
}

/** What a click on a column's title sorts by next: numbers begin with the largest; the third click ends it. */
export function nextSort(sort, name) {
  const steps = name === "symbol" ? [name, `-${name}`, ""] : [`-${name}`, name, ""];
  return steps[(steps.indexOf(sort) + 1) % steps.length];
}

/** A sparkline's points: what is not known is left out, the line goes on. */
export function points(closes, width, height) {
  const known = [];
  for (let at = 0; at < closes.length; at += 1) if (Number.isFinite(closes[at])) known.push([at, closes[at]]);
  const prices = known.map(([, price]) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const scale = high > low ? height / (high - low) : 0;
  const step = width / Math.max(closes.length - 1, 1);
  return known.map(([at, price]) => [at * step, scale ? (high - price) * scale : height / 2]);
}
