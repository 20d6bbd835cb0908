import assert from "node:assert/strict";
import { test } from "node:test";

import { checksum, closesOf, nextSort, orderOf, points, rowsOf } from "../../src/lists/watch.js";

const SYMBOLS = ["BTCUSDT", "ETHUSDT", "DOGEUSDT"];

test("a frame is taken apart", () => {
  const columns = [[110, NaN], [100, 5], [109, 4], [111, 6], [120, 7], [90, 3], [5000, 60], [77, NaN], [1]];
  const { rows, since } = rowsOf({ counts: [2, 1], numbers: Float64Array.from(columns.flat()) });
  assert.equal(since, 1);
  assert.ok(Math.abs(rows[0].change - 0.1) < 1e-12);
  assert.ok(Math.abs(rows[0].spread - (2 / 110) * 10_000) < 1e-9);
  assert.deepEqual([rows[0].last, rows[0].volume, rows[0].high, rows[0].low, rows[0].time], [110, 5000, 120, 90, 77]);
  assert.ok(Number.isNaN(rows[1].change));
});

test("sparklines are cut out of their frame", () => {
  const closes = closesOf({ counts: [2, 3], numbers: Float64Array.from([1, 2, 3, 4, 5, 6]) });
  assert.deepEqual(closes.map((each) => [...each]), [[1, 2, 3], [4, 5, 6]]);
});

test("lists of symbols are told apart as the kernel does", () => {
  assert.equal(checksum([]), 0x811c9dc5);
  assert.equal(checksum(["BTCUSDT", "ETHUSDT"]), 0xda1eb39b);
});

test("rows are sorted by a column, what is not known last", () => {
  const rows = [{ last: 5 }, { last: NaN }, { last: 7 }];
  assert.deepEqual(orderOf(SYMBOLS, rows, ""), [0, 1, 2]);
  assert.deepEqual(orderOf(SYMBOLS, rows, "last"), [0, 2, 1]);
  assert.deepEqual(orderOf(SYMBOLS, rows, "-last"), [2, 0, 1]);
  assert.deepEqual(orderOf(SYMBOLS, rows, "symbol"), [0, 2, 1]);
  assert.deepEqual(orderOf(SYMBOLS, rows, "-symbol"), [1, 2, 0]);
  assert.deepEqual(orderOf(SYMBOLS, [], "change"), [0, 1, 2]);
  assert.deepEqual(orderOf(SYMBOLS, [{ last: 1 }, { last: 1 }, { last: 1 }], "-last"), [0, 1, 2]);
});

test("a title is clicked through its orders", () => {
  assert.deepEqual(["", "-last", "last"].map((sort) => nextSort(sort, "last")), ["-last", "last", ""]);
  assert.deepEqual(["", "symbol", "-symbol"].map((sort) => nextSort(sort, "symbol")), ["symbol", "-symbol", ""]);
  assert.equal(nextSort("-last", "change"), "-change");
});

test("a sparkline fills its place and goes on over what is not known", () => {
  assert.deepEqual(points([1, NaN, 3], 10, 8), [[0, 8], [10, 0]]);
  assert.deepEqual(points([2, 2], 10, 8), [[0, 4], [10, 4]]);
  assert.deepEqual(points([NaN, NaN], 10, 8), []);
});
