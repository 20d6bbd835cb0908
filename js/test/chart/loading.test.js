import assert from "node:assert/strict";
import { test } from "node:test";

import { PATIENCE_MS, saidOf } from "../../src/chart/loading.js";

const said = (what) => saidOf({ drawn: "1m", wanted: "1m", symbol: "BTCUSDT", loading: false, waited: 0, ...what });

test("the header says what is drawn, what is wanted, and that it is loading", () => {
  assert.equal(said({}).detail, "1m");
  assert.equal(said({ loading: true }).detail, "1m, loading");
  assert.equal(said({ wanted: "5m" }).detail, "1m → 5m");
  assert.equal(said({ wanted: "5m", loading: true }).detail, "1m → 5m, loading");
  assert.equal(said({ drawn: "", wanted: "5m", loading: true }).detail, "5m, loading");
});

test("bars of another interval are given up after a while, those of the wanted one never", () => {
  const late = { loading: true, waited: PATIENCE_MS };
  assert.equal(said({ wanted: "5m", loading: true, waited: PATIENCE_MS - 1 }).text, "");
  assert.equal(said({ wanted: "5m", ...late }).text, "Loading 5m klines of BTCUSDT");
  assert.equal(said({ drawn: "", ...late }).text, "Loading 1m klines of BTCUSDT");
  assert.equal(said(late).text, "");
});
