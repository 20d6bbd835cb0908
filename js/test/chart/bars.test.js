import assert from "node:assert/strict";
import { test } from "node:test";

import { Bars, Mark } from "../../src/chart/bars.js";
import { Kind } from "../../src/frame.js";

const MINUTE = 60_000_000;
const NUMBERS = [0.01, MINUTE, 7];

/** A frame of bars [time in minutes, close, mark]; all other numbers follow from the close. */
export function frameOf(kind, bars, numbers) {
  const columns = [
    bars.map(([time]) => time * MINUTE),
    ...[0, 1, -1, 0].map((away) => bars.map(([, close]) => close + away)),
    bars.map(() => 2),
    bars.map(([, close]) => 2 * close),
    bars.map(() => 3),
    bars.map(([, , mark]) => mark ?? 0),
    numbers,
  ];
  return { kind, counts: [bars.length, numbers.length], numbers: Float64Array.from(columns.flat()) };
}

export const snapshot = (bars, numbers = NUMBERS) =>
  frameOf(Kind.BARS_SNAPSHOT, bars, [...numbers, bars[0][0] * MINUTE, 0, 0]);
const newest = (bars, numbers = NUMBERS) => frameOf(Kind.BARS, bars, numbers);

function held(...bars) {
  const made = new Bars();
  made.take(snapshot(bars));
  return made;
}

const closes = (bars) => bars.list.map(({ close }) => close);

test("a snapshot replaces everything", () => {
  const bars = held([1, 10], [2, 11]);
  assert.equal(bars.take(snapshot([[5, 50]], [0.5, MINUTE, 9])), 0);
  assert.deepEqual(closes(bars), [50]);
  assert.deepEqual([bars.change, bars.interval, bars.revision, bars.window], [0.5, MINUTE, 9, 1]);
  assert.deepEqual(bars.last, {
    time: 5 * MINUTE, open: 50, high: 51, low: 49, close: 50, volume: 2, quoteVolume: 100, trades: 3, mark: 0,
  });
});

test("the last two bars say from where on all is different", () => {
  const bars = held([1, 10], [2, 11], [3, 12]);
  assert.equal(bars.take(newest([[2, 11], [3, 13]])), 2);
  assert.equal(bars.take(newest([[2, 11], [3, 13]])), 3);
  assert.equal(bars.take(newest([[3, 13], [4, 14]])), 3);
  assert.equal(bars.take(newest([[3, 15], [4, 14]])), 2);
  assert.deepEqual(closes(bars), [10, 11, 15, 14]);
});

test("what does not follow changes nothing and asks for everything", () => {
  const bars = held([1, 10], [2, 11], [3, 12]);
  for (const bad of [
    newest([[4, 1], [5, 2]]),
    newest([[1, 10], [2, 9]]),
    newest([[2, 11], [3, 12]], [0.01, MINUTE, 8]),
    newest([]),
  ]) {
    assert.equal(bars.take(bad), null);
  }
  assert.deepEqual(closes(bars), [10, 11, 12]);
  assert.equal(new Bars().take(newest([[1, 1]], [0, MINUTE, 0])), null);
});

test("a missing bar stays the same bar", () => {
  const bars = held([1, 10], [2, NaN, Mark.MISSING], [3, 12]);
  assert.equal(bars.take(newest([[2, NaN, Mark.MISSING], [3, 12]])), 3);
});

test("older bars than the window's go in portions", () => {
  const bars = held(...Array.from({ length: 100 }, (_, at) => [at, at]));
  for (let at = 100; at < 150; at += 1) bars.take(newest([[at - 1, at - 1], [at, at]]));
  assert.equal(bars.trim(), 0);
  bars.take(newest([[149, 149], [150, 150]]));
  assert.equal(bars.trim(), 51);
  assert.deepEqual([bars.list.length, bars.list[0].close, bars.last.close], [100, 51, 150]);
});

test("bars are found by their time", () => {
  const bars = held([1, 10], [2, 11], [3, 12]);
  assert.deepEqual([0, 1, 2, 3, 4].map((time) => bars.indexOf(time * MINUTE)), [-1, 0, 1, 2, -1]);
});
