import assert from "node:assert/strict";
import { test } from "node:test";

import { FLASH_MS, Flashes } from "../src/ladder/flash.js";

const side = (levels) => ({
  prices: Float64Array.from(levels, ([price]) => price),
  sizes: Float64Array.from(levels, ([, size]) => size),
});
const book = (bids, group = 0) => ({ bids: side(bids), asks: side([[11, 1]]), group });
const MANY = Array.from({ length: 10 }, (_, i) => [10 - i, 1]);
const changed = MANY.map(([price]) => [price, price === 9 ? 2 : 1]);

test("a level that changed flashes, and briefly", () => {
  const flashes = new Flashes();
  flashes.take(book(MANY), 0);
  assert.equal(flashes.alive(0), false);
  flashes.take(book(changed), 1000);
  assert.equal(flashes.strength("bids", 9, 1000), 1);
  assert.equal(flashes.strength("bids", 10, 1000), 0);
  assert.ok(flashes.strength("bids", 9, 1000 + FLASH_MS / 2) > 0.4);
  assert.equal(flashes.alive(1000 + FLASH_MS - 1), true);
  assert.equal(flashes.alive(1000 + FLASH_MS), false);
  assert.equal(flashes.strength("bids", 9, 1000 + FLASH_MS), 0);
  assert.ok(FLASH_MS <= 150);
});

test("nothing flashes when everything has moved, or levels are joined in another way", () => {
  const flashes = new Flashes();
  flashes.take(book(MANY), 0);
  flashes.take(book(MANY.map(([price]) => [price, 7])), 10);
  assert.equal(flashes.alive(10), false);
  flashes.take(book(changed, 5), 20);
  assert.equal(flashes.alive(20), false);
});

test("nothing flashes where there is no time for it, or where motion is not wished for", () => {
  const busy = new Flashes();
  for (let i = 0; i < 60; i += 1) busy.painted(12);
  const still = new Flashes({ still: true });
  for (const flashes of [busy, still]) {
    flashes.take(book(MANY), 0);
    flashes.take(book(changed), 10);
    assert.equal(flashes.alive(10), false);
  }
});
