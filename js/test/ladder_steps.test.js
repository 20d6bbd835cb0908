import assert from "node:assert/strict";
import { test } from "node:test";

import { another, decimalsOf, steps } from "../src/ladder/steps.js";

test("steps are multiples of the tick that can be told apart", () => {
  assert.deepEqual(steps(0.01, 100), [0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]);
  assert.deepEqual(steps(0.5, 100), [0, 1]);
  assert.deepEqual(steps(1e-8, 1e-5), [0, 2e-8, 5e-8, 1e-7, 2e-7]);
  assert.deepEqual(steps(0, 100), [0]);
  assert.deepEqual(steps(0.01, NaN), [0]);
});

test("every step is exact in decimals", () => {
  for (const step of steps(0.0001, 3)) assert.ok(String(step).length <= 6, String(step));
});

test("coarser and finer", () => {
  const found = [0, 1, 2, 5];
  assert.deepEqual([another(found, 0, 1), another(found, 1, 1), another(found, 5, 1)], [1, 2, 5]);
  assert.deepEqual([another(found, 5, -1), another(found, 1, -1), another(found, 0, -1)], [2, 0, 0]);
  assert.deepEqual([another(found, 3, 1), another(found, 3, -1)], [5, 2]);
});

test("decimals of a step", () => {
  assert.deepEqual([10, 1, 0.5, 0.05, 1e-8, 2.5e-7].map(decimalsOf), [0, 0, 1, 2, 8, 8]);
});
