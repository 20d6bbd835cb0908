/** What the ladder says in words: the badge, the cost of reaching a level, the table for screen readers. */

import { State } from "../frame.js";
import { short } from "../numbers.js";
import { atLeast } from "./book.js";

/**
 * Whether the book is to be trusted, as `{mark, text, good}`.
 * @param {object | null} book
 * @param {number} state of the data
 * @param {(value: number) => string} count writes whole numbers
 */
export function badge(book, state, count) {
  if (!book) return { mark: "…", text: "waiting for the book", good: null };
  if (state === State.STOPPED) return { mark: "■", text: "stopped: these are the last levels", good: false };
  if (book.loading) return { mark: "↻", text: "being fetched anew: these are the last good levels", good: false };
  if (!book.verified) return { mark: "?", text: "not verified: nothing has come since its stream was lost or ended", good: false };
  if (!book.compared) return { mark: "✓", text: "verified", good: true };
  const proof = `${count(book.equal)} of ${count(book.compared)} quotes equal`;
  if (book.equal < book.compared) return { mark: "!", text: `verified, but only ${proof}`, good: false };
  return { mark: "✓", text: `verified · ${proof}`, good: true };
}

/** More about the badge, for whoever points at it. */
export function badgeTitle(book) {
  const parts = ["The book follows from a snapshot of the exchange without a hole in its update ids."];
  if (book?.compared) parts.push("Its best prices and sizes are held against the exchange's own quotes.");
  if (book?.partial) parts.push("Levels from before it began, which have not changed since, may be missing.");
  return parts.join(" ");
}

/**
 * The cost of reaching a level in lines of `[label, value]`, the first of them a heading.
 * @param {ReturnType<import("./book.js").cost>} what
 * @param {"bids" | "asks"} name
 * @param {{price: Function, fine: Function, size: Function, base: string, quote: string}} write
 */
export function costLines(what, name, write) {
  const unit = (text, of) => (of ? `${text} ${of}` : text);
  const sign = what.bps < 0 ? "\u2212" : "+";
  return [
    [name === "asks" ? `▲ buy up to ${write.price(what.price)}` : `▼ sell down to ${write.price(what.price)}`, ""],
    ["size", unit(what.least + write.size(what.size), write.base)],
    ["average", write.fine(what.average)],
    [name === "asks" ? "cost" : "proceeds", unit(what.least + short(what.value), write.quote)],
    ["slippage", `${sign}${Math.abs(what.bps).toFixed(2)} bps`],
  ];
}

/** A level in a sentence. */
export function sentence(what, name, write) {
  const side = name === "asks" ? "ask" : "bid";
  const [, size, average, , slippage] = costLines(what, name, write);
  return `${side} ${write.price(what.price)}, in all ${size[1]}, average ${average[1]}, ${slippage[1]}`;
}

/** Rows of the table for screen readers: side, price, size, total; the best `n` levels of each side. */
export function tableRows(book, n, write) {
  const row = (name, side, i) => [
    side,
    write.price(book[name].prices[i]),
    atLeast(book, book[name].prices[i]) + write.size(book[name].sizes[i]),
    atLeast(book, book[name].prices[i]) + write.size(book[name].totals[i]),
  ];
  const count = (name) => Math.min(n, book[name].prices.length);
  const asks = Array.from({ length: count("asks") }, (_, i) => row("asks", "ask", i)).reverse();
  return [...asks, ...Array.from({ length: count("bids") }, (_, i) => row("bids", "bid", i))];
}
