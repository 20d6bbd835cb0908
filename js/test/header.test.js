import assert from "node:assert/strict";
import { test } from "node:test";
import { State } from "../src/frame.js";
import { stateOf } from "../src/header.js";
import { THIN } from "../src/numbers.js";

const CASES = [
  ["nothing has come", { state: State.RUNNING, origin: "" }, "waiting", "waiting"],
  ["it streams", { state: State.RUNNING, origin: "stream" }, "live", "live"],
  ["polled", { state: State.RUNNING, origin: "rest" }, "live", "live"],
  ["a tape", { state: State.RUNNING, origin: "replay" }, "replay", "replay"],
  ["made up", { state: State.RUNNING, origin: "simulated" }, "simulated", "simulated"],
  ["the kernel is silent", { state: State.RUNNING, origin: "stream", stale: 12_000 }, "stale", `stale 12${THIN}s`],
  ["silent, made up", { state: State.RUNNING, origin: "simulated", stale: 3000 }, "stale", `simulated · stale 3${THIN}s`],
  ["reconnecting", { state: State.RECONNECTING, origin: "stream", reconnecting: 5000 }, "stale", `stale 5${THIN}s, reconnecting`],
  ["stopped", { state: State.STOPPED, origin: "stream" }, "stopped", "stopped"],
  ["stopped, made up", { state: State.STOPPED, origin: "simulated", stale: 9e9 }, "stopped", "simulated · stopped"],
  ["paused", { state: State.PAUSED, origin: "replay" }, "paused", "replay · paused"],
  ["paused, and the kernel is gone", { state: State.PAUSED, origin: "stream", stale: 4000 }, "stale", `stale 4${THIN}s`],
];

for (const [name, link, word, text] of CASES) {
  test(name, () => assert.deepEqual(stateOf({ stale: 0, reconnecting: 0, ...link }), { word, text }));
}

test("data that was made up or played never goes without its mark", () => {
  for (const origin of ["simulated", "replay"]) {
    for (const state of Object.values(State)) {
      for (const stale of [0, 5000]) assert.match(stateOf({ state, origin, stale }).text, new RegExp(origin));
    }
  }
});
