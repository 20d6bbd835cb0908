import assert from "node:assert/strict";
import { test } from "node:test";
import { THIN, arrow, duration, formatter, percent, short, split } from "../src/numbers.js";

test("fixed decimals, thousands apart by a thin space", () => {
  assert.equal(formatter(2)(61234.5), `61${THIN}234.50`);
  assert.equal(formatter(0)(1234567), `1${THIN}234${THIN}567`);
  assert.equal(formatter(8)(0.00000012), "0.00000012");
  assert.equal(formatter(2)(-0.005), "-0.01");
});

test("what is no number is a dash", () => {
  for (const value of [NaN, Infinity, undefined]) assert.equal(formatter(2)(value), "–");
  assert.equal(percent(NaN), "–");
  assert.equal(short(NaN), "–");
});

test("a price in two parts: what has stayed, what has changed", () => {
  assert.deepEqual(split("61 234.50", "61 234.10"), ["61 234.", "50"]);
  assert.deepEqual(split("61 234.50", "61 234.50"), ["61 234.50", ""]);
  assert.deepEqual(split("9.99", "10.00"), ["", "9.99"]);
  assert.deepEqual(split("1", ""), ["", "1"]);
});

test("changes have a sign and an arrow", () => {
  assert.equal(percent(0.0123), `+1.23${THIN}%`);
  assert.equal(percent(-0.5, 1), `\u221250.0${THIN}%`);
  assert.equal(percent(0), `±0.00${THIN}%`);
  assert.equal([1, -1, 0, NaN].map(arrow).join(""), "▲▼■■");
});

test("large numbers are short", () => {
  assert.deepEqual([0, 0.00123, 12.345, 1234, 3.5e6, -2.25e9].map(short), ["0", "0.00123", "12.3", "1.23k", "3.5M", "-2.25G"]);
});

test("seconds, minutes, hours", () => {
  assert.deepEqual([0, 12_900, 119_999, 120_000, 7_199_999, 7_200_000].map(duration), ["0", "12", "119", "2", "119", "2"].map((number, at) => `${number}${THIN}${["s", "s", "s", "min", "min", "h"][at]}`));
});
