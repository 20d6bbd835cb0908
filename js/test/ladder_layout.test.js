import assert from "node:assert/strict";
import { test } from "node:test";

import { SPREAD, columnsFor, levelAt, rowsFor, yOf } from "../src/ladder/layout.js";
import { Place } from "../src/ladder/place.js";

const TEXT = { size: 60, price: 76, total: 70, value: 60, bps: 50, trade: 50 };

function shown(width) {
  const columns = columnsFor(width, TEXT);
  const { tradeSize, totalEnd, valueEnd, bpsEnd, areaStart, areaBehind } = columns;
  const depth = areaStart !== null && !areaBehind;
  return Object.entries({ bps: bpsEnd, value: valueEnd, trade: tradeSize, depth, total: totalEnd })
    .filter(([, there]) => there)
    .map(([name]) => name)
    .join(" ");
}

test("columns go one after another as a cell gets narrower", () => {
  assert.deepEqual(
    [1200, 660, 500, 440, 320, 240].map(shown),
    ["bps value trade depth total", "value trade depth total", "trade depth total", "depth total", "total", ""],
  );
});

test("columns stand beside one another at any width", () => {
  for (let width = 210; width < 1600; width += 7) {
    const columns = columnsFor(width, TEXT);
    const { barsStart, sizeStart, sizeEnd, priceEnd, totalEnd, valueEnd, bpsEnd, areaStart, areaEnd, areaBehind } = columns;
    const edges = [0, barsStart, sizeStart, sizeEnd, priceEnd, totalEnd, valueEnd, bpsEnd, areaBehind ? null : areaStart, areaEnd, width];
    const known = edges.filter((edge) => edge !== null);
    assert.deepEqual(known, known.toSorted((one, other) => one - other), `at ${width}`);
  }
});

test("rows fill the height, and are never too low to be read", () => {
  const rows = rowsFor(577, 15);
  assert.deepEqual([rows.row, rows.rows], [17, 15]);
  assert.ok(yOf(rows, "asks", 14) >= rows.top);
  assert.ok(yOf(rows, "bids", 14) + rows.row <= rows.bottom);
  const low = rowsFor(150, 20);
  assert.deepEqual([low.row, low.rows, low.titles], [13, 4, 0]);
  assert.equal(rowsFor(1000, 5).row, 24);
  assert.equal(rowsFor(1, 5).rows, 1);
});

test("the level at a height is the one that is drawn there", () => {
  const rows = rowsFor(500, 10);
  const counts = { bids: 10, asks: 3 };
  for (const [name, index] of [["asks", 0], ["asks", 2], ["bids", 0], ["bids", 9]]) {
    const y = yOf(rows, name, index);
    assert.deepEqual(levelAt(rows, y + 1, 0, counts), { name, index });
    assert.deepEqual(levelAt(rows, y + rows.row - 1 + 20, 20, counts), { name, index });
  }
  assert.equal(levelAt(rows, rows.middle + SPREAD / 2, 0, counts), null);
  assert.equal(levelAt(rows, yOf(rows, "asks", 3) + 1, 0, counts), null);
});

const side = (...prices) => ({ prices: Float64Array.from(prices) });

test("a row that somebody looks at keeps its place while better ones come and go", () => {
  const rows = rowsFor(500, 10);
  const place = new Place();
  const before = { bids: side(9, 8), asks: side(11, 12, 13) };
  const y = yOf(rows, "asks", 1);
  place.hold("asks", 12, y);
  assert.equal(place.settle(before, rows, 0), false);
  assert.equal(place.shift, 0);
  place.settle({ bids: side(9, 8), asks: side(10, 11, 12, 13) }, rows, 16);
  assert.equal(yOf(rows, "asks", 2) + place.shift, y);
  place.settle({ bids: side(9, 8), asks: side(13) }, rows, 32);
  assert.equal(yOf(rows, "asks", 0) + place.shift, y, "what is gone has its place still");
});

test("the ladder glides back when it is let go", () => {
  const rows = rowsFor(500, 10);
  const book = { bids: side(9, 8), asks: side(11, 12, 13) };
  const place = new Place();
  place.hold("asks", 11, yOf(rows, "asks", 2));
  place.settle(book, rows, 1000);
  const from = place.shift;
  place.release();
  const way = [];
  let now = 1000;
  while (place.settle(book, rows, (now += 16))) way.push(place.shift);
  assert.equal(place.shift, 0);
  assert.ok(way.length > 5 && way.every((shift, i) => Math.abs(shift) < Math.abs(i ? way[i - 1] : from)));
  const still = new Place({ still: true });
  still.hold("asks", 11, yOf(rows, "asks", 2));
  still.settle(book, rows, 0);
  still.release();
  assert.equal(still.settle(book, rows, 1), false);
  assert.equal(still.shift, 0);
});
