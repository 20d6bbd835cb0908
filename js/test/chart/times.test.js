import assert from "node:assert/strict";
import { test } from "node:test";

import { clock, intervalName, moment, tick } from "../../src/chart/times.js";

const SECOND = 1_000_000;
const AT = Date.UTC(2024, 7, 9, 4, 5, 6) / 1000;

test("intervals have the exchange's names", () => {
  const lengths = { "1s": 1, "1m": 60, "3m": 180, "30m": 1800, "1h": 3600, "12h": 43200, "1d": 86400, "3d": 259200, "1w": 604800, "1M": 31 * 86400 };
  for (const [name, seconds] of Object.entries(lengths)) assert.equal(intervalName(seconds * SECOND), name);
});

test("times are UTC and as long as they have to be", () => {
  assert.equal(clock(AT), "04:05");
  assert.equal(moment(AT, SECOND), "Fri 9 Aug 2024 04:05:06");
  assert.equal(moment(AT, 60 * SECOND), "Fri 9 Aug 2024 04:05");
  assert.equal(moment(AT, 86_400 * SECOND), "Fri 9 Aug 2024");
  assert.equal(moment(AT, 31 * 86_400 * SECOND), "Aug 2024");
});

test("the axis says year, month, day or time", () => {
  assert.deepEqual([0, 1, 2, 3, 4].map((kind) => tick(AT, kind)), ["2024", "Aug", "9 Aug", "04:05", "04:05:06"]);
});
