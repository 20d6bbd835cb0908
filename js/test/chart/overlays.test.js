import assert from "node:assert/strict";
import { test } from "node:test";

import { Bars, Mark } from "../../src/chart/bars.js";
import { overlay } from "../../src/chart/overlays.js";

const MINUTE = 60_000_000;
const DAY = 1440 * MINUTE;

function barsOf(rows, { interval = MINUTE, anchor = { time: 0, quoteVolume: 0, volume: 0 }, start = 0 } = {}) {
  const bars = new Bars();
  Object.assign(bars, { interval, anchor });
  bars.list = rows.map(([close, volume = 1, quoteVolume = close * volume], at) => ({
    time: start + at * interval, close, volume, quoteVolume, mark: Number.isNaN(close) ? Mark.MISSING : 0,
  }));
  return bars;
}

function valuesOf(text, bars) {
  const line = overlay(text);
  line.reckon(bars, 0);
  return line.values;
}

test("a simple average by hand", () => {
  const bars = barsOf([[1], [2], [6], [10]]);
  assert.deepEqual(valuesOf("sma 3", bars), [NaN, NaN, 3, 6]);
  assert.deepEqual(valuesOf("SMA 1", bars), [1, 2, 6, 10]);
});

test("an exponential average by hand: it begins with the simple one, then goes half way", () => {
  assert.deepEqual(valuesOf("ema 3", barsOf([[1], [2], [6], [10], [2]])), [NaN, NaN, 3, 6.5, 4.25]);
});

test("a missing bar has no average, nor has a simple one that would need it", () => {
  const bars = barsOf([[1], [NaN], [3], [5], [7]]);
  assert.deepEqual(valuesOf("sma 2", bars), [NaN, NaN, NaN, 4, 6]);
  assert.deepEqual(valuesOf("ema 2", bars), [NaN, NaN, 2, 4, 6]);
});

test("the volume weighted average begins with the day and goes on from what is before the window", () => {
  const rows = [[10, 1], [20, 3], [30, 1]];
  assert.deepEqual(valuesOf("vwap", barsOf(rows)), [10, 17.5, 20]);
  const anchor = { time: 0, quoteVolume: 30, volume: 1 };
  assert.deepEqual(valuesOf("vwap", barsOf(rows, { anchor, start: 5 * MINUTE })), [20, 20, 130 / 6]);
  // The second bar opens the next day.
  const late = { anchor: { time: 0, quoteVolume: 30, volume: 1 }, start: DAY - MINUTE };
  assert.deepEqual(valuesOf("vwap", barsOf(rows, late)), [20, 20, 22.5]);
  assert.deepEqual(valuesOf("vwap", barsOf(rows, { interval: DAY })), [NaN, NaN, NaN]);
  assert.deepEqual(valuesOf("vwap", barsOf([[10, 0], [20, 1]])), [NaN, 20]);
});

test("the volume weighted average says since when, if that is not midnight", () => {
  const since = (bars) => {
    const line = overlay("vwap");
    line.reckon(bars, 0);
    return line.since(bars);
  };
  const anchor = { time: DAY + MINUTE, quoteVolume: 0, volume: 0 };
  assert.equal(since(barsOf([[1]], { anchor, start: DAY + 2 * MINUTE })), DAY + MINUTE);
  assert.equal(since(barsOf([[1]])), null);
  assert.equal(since(barsOf([])), null);
  assert.equal(since(barsOf([[1]], { interval: DAY })), null);
  // The newest value's day began at midnight.
  assert.equal(since(barsOf([[1], [2]], { anchor: { ...anchor, time: DAY - 5 * MINUTE }, start: DAY - MINUTE })), null);
});

test("behind a missing bar the volume weighted average begins anew, and says so", () => {
  const bars = barsOf([[100], [NaN], [200], [300]]);
  const line = overlay("vwap");
  line.reckon(bars, 0);
  assert.deepEqual(line.values, [100, NaN, 200, 250]);
  assert.equal(line.since(bars), 2 * MINUTE);
  const anchor = { time: 0, quoteVolume: 30, volume: 1 };
  assert.deepEqual(valuesOf("vwap", barsOf([[NaN], [200]], { anchor, start: 5 * MINUTE })), [NaN, 200]);
  const ended = barsOf([[100], [NaN]]);
  line.reckon(ended, 0);
  assert.equal(line.since(ended), null);
});

for (const text of ["sma 3", "ema 3", "vwap"]) {
  test(`${text}: going on from any bar gives what beginning anew gives`, () => {
    const rows = Array.from({ length: 40 }, (_, at) => [100 + ((at * 7919) % 13), 1 + (at % 5)]);
    rows[17] = [NaN];
    const bars = barsOf(rows, { start: DAY - 20 * MINUTE });
    const line = overlay(text);
    line.reckon(bars, 0);
    Object.assign(bars.list[39], { close: 7, quoteVolume: 7 });
    line.reckon(bars, 39);
    assert.deepEqual(line.values, valuesOf(text, bars));
    const former = line.values.slice(25);
    line.trim(25);
    bars.list.splice(0, 25);
    line.reckon(bars, 14);
    assert.deepEqual(line.values, former);
  });
}

for (const [what, change] of [
  ["within a day", {}],
  ["over midnight", { start: DAY - 40 * MINUTE }],
  ["with a hole among them", { missing: 30 }],
  ["with a hole at their end", { missing: 59 }],
  ["with what lies before the window", { start: 5 * MINUTE, anchor: { time: 0, quoteVolume: 3000, volume: 2 } }],
]) {
  test(`the volume weighted average is the same when the oldest bars have gone, ${what}`, () => {
    const { missing, ...where } = change;
    const rows = Array.from({ length: 120 }, (_, at) => [100 + ((at * 7919) % 13), 1 + (at % 5)]);
    if (missing) rows[missing] = [NaN];
    const bars = barsOf(rows, where);
    const before = valuesOf("vwap", bars).slice(60);
    bars.window = 60;
    assert.equal(bars.trim(), 60);
    assert.deepEqual(valuesOf("vwap", bars), before);
  });
}

test("what is no overlay is none", () => assert.equal(overlay("rsi 14"), null));
