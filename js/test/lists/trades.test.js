import assert from "node:assert/strict";
import { test } from "node:test";

import { Kind } from "../../src/frame.js";
import { Reading, clock, share, tableRows, tradesOf } from "../../src/lists/trades.js";

/** A frame whose newest trade has the number `total`; times are the trades' numbers. */
function frame(count, total, kind = Kind.TRADES) {
  const times = Array.from({ length: count }, (_, at) => total - at);
  const numbers = [...times, ...times.map(() => 100), ...times.map((time) => (time % 2 ? -1 : 2)), total, 3.5, 2, 2];
  return { kind, counts: [count, 4], numbers: Float64Array.from(numbers) };
}

const kept = (total) => frame(100, total, Kind.TRADES_KEPT);

test("a frame is taken apart", () => {
  const { count, times, prices, sizes, total, rate, large, largest } = tradesOf(frame(2, 8));
  assert.deepEqual([count, [...times], [...prices], [...sizes]], [2, [8, 7], [100, 100], [2, -1]]);
  assert.deepEqual([total, rate, large, largest], [8, 3.5, 2, 2]);
});

test("whoever cannot see the rows reads the newest ones", () => {
  const write = { price: (value) => `${value}.0`, size: String };
  assert.deepEqual(tableRows(tradesOf(frame(3, 8_000_001)), 2, write), [
    ["00:00:08.000", "100.0", "1", "sell"],
    ["00:00:08.000", "100.0", "2", "buy"],
  ]);
  assert.deepEqual(tableRows(tradesOf(frame(1, 8)), 10, write).length, 1);
});

test("the newest are shown until somebody scrolls back, and then what is kept", () => {
  let asked = 0;
  const reading = new Reading(() => (asked += 1));
  reading.take(kept(500));
  reading.take(frame(40, 500));
  assert.deepEqual([reading.back, reading.first(10), reading.trades.count], [false, 0, 40]);
  reading.move(3, 10);
  assert.deepEqual([reading.back, asked, reading.first(10)], [true, 1, 3]);
  reading.take(frame(40, 510));
  reading.take(kept(510));
  reading.take(frame(40, 525));
  reading.settle(10);
  assert.deepEqual([reading.trades.count, reading.trades.times[reading.first(10)], reading.missed], [100, 507, 15]);
  reading.take(kept(540)); // another view has opened: what is being read stays
  assert.equal(reading.trades.times[reading.first(10)], 507);
  reading.move(1, 10);
  assert.deepEqual([asked, reading.first(10)], [1, 4]);
  reading.go(0, 10);
  assert.deepEqual([reading.back, reading.trades.total, reading.missed], [false, 525, 0]);
});

test("nobody scrolls beyond either end", () => {
  const reading = new Reading(() => {});
  reading.move(1, 10);
  assert.equal(reading.first(10), 0);
  reading.go(0, 10);
  reading.take(frame(40, 500));
  reading.move(-5, 10);
  assert.equal(reading.back, false);
  reading.go(Infinity, 10);
  assert.equal(reading.first(10), 30);
  reading.take(kept(501));
  reading.settle(10);
  assert.deepEqual([reading.at, reading.first(10)], [90, 90]);
  reading.move(5, 10);
  assert.equal(reading.at, 90);
  reading.clear();
  assert.deepEqual([reading.trades, reading.back], [null, false]);
});

test("times are told in UTC, to the millisecond", () => {
  assert.deepEqual(clock(1_723_161_600_000_000), ["00:00:00", ".000"]);
  assert.deepEqual(clock(1_723_161_600_123_999 + 86_399e6), ["23:59:59", ".123"]);
});

test("a bar is as long as its size, by logarithm or not", () => {
  assert.equal(share(5, 10, "linear"), 0.5);
  assert.equal(share(-10, 10, "log"), 1);
  assert.equal(share(20, 10, "log"), 1);
  assert.equal(share(1, 0, "log"), 0);
  assert.ok(share(0.01, 10, "log") > 0.2);
  assert.ok(share(0.01, 10, "log") < share(0.1, 10, "log"));
});
