import assert from "node:assert/strict";
import { test } from "node:test";

import { State } from "../src/frame.js";
import { badge, badgeTitle, costLines, sentence, tableRows } from "../src/ladder/words.js";

const BOOK = { verified: true, loading: false, compared: 1200, equal: 1200, partial: false };
const count = (value) => String(value);
const write = {
  price: (value) => value.toFixed(1),
  fine: (value) => value.toFixed(2),
  size: (value) => value.toFixed(3),
  base: "BTC",
  quote: "USDT",
};

test("the badge says whether the book is to be trusted", () => {
  const told = (book, state = State.RUNNING) => badge(book, state, count);
  assert.deepEqual(told(BOOK), { mark: "✓", text: "verified · 1200 of 1200 quotes equal", good: true });
  assert.equal(told({ ...BOOK, compared: 0 }).text, "verified");
  assert.deepEqual(told({ ...BOOK, equal: 1199 }), { mark: "!", text: "verified, but only 1199 of 1200 quotes equal", good: false });
  assert.match(told({ ...BOOK, verified: false, loading: true }).text, /fetched anew/);
  assert.match(told({ ...BOOK, verified: false }).text, /not verified/);
  assert.match(told(BOOK, State.STOPPED).text, /stopped/);
  assert.equal(told(null).good, null);
  assert.match(badgeTitle({ ...BOOK, partial: true }), /may be missing/);
});

test("the cost of a level in words", () => {
  const what = { price: 101, size: 2.5, average: 100.125, value: 250312.5, bps: 1.25, least: "" };
  assert.deepEqual(costLines(what, "asks", write), [
    ["▲ buy up to 101.0", ""],
    ["size", "2.500 BTC"],
    ["average", "100.13"],
    ["cost", "250k USDT"],
    ["slippage", "+1.25 bps"],
  ]);
  assert.equal(costLines({ ...what, bps: -1 }, "bids", write)[4][1], "\u22121.00 bps");
  const [, size, , worth] = costLines({ ...what, least: "≥" }, "bids", write);
  assert.deepEqual([size[1], worth[1]], ["≥2.500 BTC", "≥250k USDT"]);
  assert.equal(sentence(what, "bids", write), "bid 101.0, in all 2.500 BTC, average 100.13, +1.25 bps");
});

test("screen readers get the best levels as a table, in the order of the page", () => {
  const side = (prices) => ({ prices, sizes: prices.map(() => 1), totals: prices.map((_, i) => i + 1) });
  const rows = tableRows({ asks: side([11, 12, 13]), bids: side([10]) }, 2, write);
  assert.deepEqual(rows, [
    ["ask", "12.0", "1.000", "2.000"],
    ["ask", "11.0", "1.000", "1.000"],
    ["bid", "10.0", "1.000", "1.000"],
  ]);
  const joined = tableRows({ asks: side([11]), bids: side([10]), group: 1, known: [10.5, 12] }, 2, write);
  assert.deepEqual(joined, [["ask", "11.0", "1.000", "1.000"], ["bid", "10.0", "≥1.000", "≥1.000"]]);
});
