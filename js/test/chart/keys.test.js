import assert from "node:assert/strict";
import { test } from "node:test";

import { command } from "../../src/chart/keys.js";

test("arrows move and zoom, shift goes far, digits choose", () => {
  assert.deepEqual(command({ key: "ArrowLeft" }), ["pan", 5]);
  assert.deepEqual(command({ key: "ArrowRight", shiftKey: true }), ["pan", -50]);
  assert.deepEqual(command({ key: "+" }), ["zoom", 0.8]);
  assert.deepEqual(command({ key: "-" }), ["zoom", 1.25]);
  assert.deepEqual(command({ key: "Home" }), ["home"]);
  assert.deepEqual(command({ key: "End" }), ["end"]);
  assert.deepEqual(command({ key: "2" }), ["choose", 1]);
});

test("keys of the page and the browser stay theirs", () => {
  assert.equal(command({ key: "0" }), null);
  assert.equal(command({ key: "Tab" }), null);
  assert.equal(command({ key: "+", ctrlKey: true }), null);
  assert.equal(command({ key: "1", metaKey: true }), null);
});
