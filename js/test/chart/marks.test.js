import assert from "node:assert/strict";
import { test } from "node:test";

import { remark } from "../../src/chart/legend.js";
import { stretches } from "../../src/chart/marks.js";

test("neighbouring bars of one mark are one stretch", () => {
  const marks = [0, 1, 1, 4, 0, 2, 2, 6, 0];
  const list = marks.map((mark, at) => ({ time: at * 1e6, mark }));
  assert.deepEqual(stretches(list).map(({ from, to }) => [from, to]), [[1, 3], [5, 6], [7, 7]]);
});

test("marks in words, the gravest one", () => {
  assert.deepEqual([0, 1, 2, 4, 6].map(remark), ["", "missing", "fetched back", "not seen in full", "not seen in full"]);
});
