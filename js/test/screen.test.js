import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Screen } from "../src/screen.js";

let waiting, screen, now;

beforeEach(() => {
  [waiting, now] = [[], 100];
  screen = new Screen((callback) => waiting.push(callback));
});

/** Frames of the screen, so many milliseconds apart. */
function frames(...steps) {
  for (const step of [0, ...steps]) {
    now += step;
    for (const callback of waiting.splice(0)) callback(now);
  }
}

function looked(...steps) {
  screen.look();
  frames(...steps);
}

test("sixty a second until something is known", () => {
  assert.ok(Math.abs(screen.frameMs - 16.67) < 0.1);
});

test("the shortest step counts", () => {
  looked(33, 17);
  assert.equal(screen.frameMs, 17);
  looked(34, 34);
  assert.equal(screen.frameMs, 17);
});

test("a page that was busy once is not slow for ever", () => {
  looked(33, 33);
  assert.equal(screen.frameMs, 33);
  looked(7, 8);
  assert.equal(screen.frameMs, 7);
});

test("a window on another screen takes its rhythm", () => {
  looked(7, 7);
  for (let count = 0; count < 12; count += 1) looked(17, 17);
  assert.equal(screen.frameMs, 17);
});

test("what no screen does teaches nothing", () => {
  looked(1, 400);
  looked(300, 200);
  assert.ok(Math.abs(screen.frameMs - 16.67) < 0.1);
});

test("one look at a time", () => {
  screen.look();
  screen.look();
  assert.equal(waiting.length, 1);
  frames(16, 16);
  assert.equal(waiting.length, 0);
});
