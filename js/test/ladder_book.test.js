import assert from "node:assert/strict";
import { test } from "node:test";

import { atLeast, between, cost, imbalance, indexOf, read, tradedLevels } from "../src/ladder/book.js";

const FACTS = { best: [99, 2, 101, 1], compared: 7, equal: 6, group: 0, known: [90, 110] };

function frame({ bids, asks, trades = [], facts = {}, values = [], flags = 1 }) {
  const { best, compared, equal, group, known } = { ...FACTS, ...facts };
  const column = (levels, part) => levels.map((level) => level[part]);
  const numbers = [
    ...[bids, asks].flatMap((levels) => [...column(levels, 0), ...column(levels, 1)]),
    ...[...best, compared, equal, group, ...known],
    ...values,
    ...trades.flat(),
  ];
  return { id: 5, flags, counts: [bids.length, asks.length], numbers: Float64Array.from(numbers) };
}

const BIDS = [[99, 2], [98, 3]];
const ASKS = [[101, 1], [103, 4], [104, 5]];

test("a frame is taken apart", () => {
  const book = read(frame({ bids: BIDS, asks: ASKS, trades: [[101, 0.5, 9], [99, -0.25, 8]] }));
  assert.deepEqual([...book.bids.prices], [99, 98]);
  assert.deepEqual([...book.asks.sizes], [1, 4, 5]);
  assert.deepEqual([...book.asks.totals], [1, 5, 10]);
  assert.deepEqual([...book.bids.values], [198, 492]);
  assert.deepEqual(book.trades[1], { price: 99, size: 0.25, bought: false, time: 8 });
  assert.deepEqual([book.id, book.compared, book.equal, book.verified, book.loading], [5, 7, 6, true, false]);
});

test("values of joined levels are the kernel's, since their prices are not those that were traded", () => {
  const book = read(frame({ bids: [[90, 5]], asks: [[110, 4]], values: [492, 420], facts: { group: 10 }, trades: [[101, 1, 1]] }));
  assert.deepEqual([...book.bids.values, ...book.asks.values], [492, 420]);
  assert.equal(book.trades.length, 1);
  assert.equal(cost(book, "bids", 0).average, 98.4);
});

test("an empty side is a side", () => {
  const book = read(frame({ bids: [], asks: ASKS, facts: { best: [0, 0, 101, 1] } }));
  assert.equal(book.bids.prices.length, 0);
  assert.equal(between(book.best), null);
  assert.equal(imbalance(book), 0);
  assert.equal(cost(book, "asks", 0).bps, 0);
  assert.equal(imbalance(read(frame({ bids: [], asks: [] }))), 0.5);
});

test("what lies between the best prices", () => {
  const what = between({ bid: 99, bidSize: 3, ask: 101, askSize: 1 });
  assert.deepEqual([what.middle, what.spread, what.bps, what.microprice, what.crossed], [100, 2, 200, 100.5, false]);
  assert.equal(between({ bid: 102, bidSize: 1, ask: 101, askSize: 1 }).crossed, true);
});

test("reaching a level costs what all levels up to it cost", () => {
  const book = read(frame({ bids: BIDS, asks: ASKS }));
  assert.equal(imbalance(book), 5 / 15);
  const buy = cost(book, "asks", 1);
  assert.deepEqual([buy.size, buy.value, buy.price], [5, 513, 103]);
  assert.ok(Math.abs(buy.bps - 260) < 1e-9);
  const sell = cost(book, "bids", 1);
  assert.ok(Math.abs(sell.average - 98.4) < 1e-12);
  assert.ok(Math.abs(sell.bps - 160) < 1e-9);
});

test("a price that is gone has its place among the others", () => {
  const { asks, bids } = read(frame({ bids: BIDS, asks: ASKS }));
  assert.deepEqual([100, 101, 102, 104, 105].map((price) => indexOf(asks, price, "asks")), [0, 0, 1, 2, 3]);
  assert.deepEqual([100, 99, 98.5, 98, 1].map((price) => indexOf(bids, price, "bids")), [0, 0, 1, 1, 2]);
});

test("trades are at the level that they took from", () => {
  const book = read(frame({ bids: BIDS, asks: ASKS, trades: [[101, 0.5, 9], [101, 0.25, 8], [98, -1, 7], [102, 1, 6]] }));
  const found = tradedLevels(book);
  assert.deepEqual([...found.keys()], ["asks 101", "bids 98"]);
  assert.deepEqual([found.get("asks 101").size, found.get("bids 98").rank], [0.5, 2]);
});

test("trades at joined levels are rounded as those are", () => {
  const joined = frame({
    bids: [[0.2, 5]],
    asks: [[0.3, 4], [0.4, 1]],
    values: [1, 1, 1],
    facts: { group: 0.1 },
    trades: [[0.3, 1, 3], [0.31, 2, 2], [0.29, -1, 1]],
  });
  assert.deepEqual([...tradedLevels(read(joined)).keys()], ["asks 0.3", "asks 0.4", "bids 0.2"]);
});

test("joined levels that reach beyond what is known are told", () => {
  const joined = read(frame({ bids: [[90, 1], [80, 1]], asks: [[110, 1], [120, 1]], values: [1, 1, 1, 1], facts: { group: 10 } }));
  assert.deepEqual([90, 80, 110, 120].map((price) => atLeast(joined, price)), ["", "≥", "", "≥"]);
  assert.deepEqual(["bids", "asks"].map((name) => cost(joined, name, 1).least), ["≥", "≥"]);
  const loose = read(frame({ bids: BIDS, asks: ASKS, facts: { known: [0, 0] } }));
  assert.equal(loose.known, null);
  assert.equal(atLeast(loose, 1), "");
});
