import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Flag, HEADER_BYTES, Kind, State } from "../src/frame.js";
import { Link, Travel } from "../src/link.js";

const START = 1.7e12;
let now, sent, frames, ticks, link;

/** What a frame of the screen is: everything that was asked for is painted. */
function screen() {
  for (const callback of frames.splice(0)) callback();
}

function tick() {
  for (const callback of ticks) callback();
}

function view({ visible = true, paints = true } = {}) {
  const fresh = new Map();
  const painted = [];
  return {
    painted,
    seen: visible,
    take: (frame) => fresh.set(frame.kind, frame),
    visible() {
      return this.seen;
    },
    paint() {
      if (!paints || !fresh.size) return null;
      const newest = [...fresh.values()].sort((one, other) => other.sequence - one.sequence)[0];
      painted.push(...[...fresh.values()].map((frame) => frame.sequence));
      fresh.clear();
      return newest;
    },
  };
}

function frame(sequence, { kind = Kind.BOOK, state = State.RUNNING, origin = 1, at = now, flags = 0 } = {}) {
  const bytes = new DataView(new ArrayBuffer(HEADER_BYTES));
  bytes.setUint32(0, kind | (state << 8) | (origin << 16) | (flags << 24), true);
  bytes.setUint32(4, sequence, true);
  bytes.setFloat64(32, at * 1000, true);
  return bytes;
}

const reports = () => sent.filter((message) => message.type === "report");

beforeEach(() => {
  [now, sent, frames, ticks] = [START, [], [], new Set()];
  const repeat = (callback) => {
    ticks.add(callback);
    return () => ticks.delete(callback);
  };
  const transport = { send: (message) => sent.push(message), get: () => "", set() {}, onChange: () => () => {} };
  link = new Link(transport, { now: () => now, schedule: (callback) => frames.push(callback), repeat, look() {} });
});

test("handlers only store; the paint takes the newest", () => {
  const one = view();
  link.open(one);
  for (const sequence of [1, 2, 3]) link.receive(frame(sequence));
  assert.deepEqual(one.painted, []);
  assert.equal(frames.length, 1);
  screen();
  assert.deepEqual(one.painted, [3]);
  assert.equal(link.newest.get(Kind.BOOK).sequence, 3);
});

test("one of each kind is painted", () => {
  const one = view();
  link.open(one);
  link.receive(frame(1, { kind: Kind.BARS_SNAPSHOT }));
  link.receive(frame(2, { kind: Kind.BARS }));
  screen();
  assert.deepEqual(one.painted, [1, 2]);
});

test("a report says what was painted since the last one", () => {
  link.open(view());
  link.receive(frame(7, { at: now - 40 }));
  now += 12;
  screen();
  tick();
  const [report] = reports();
  assert.deepEqual({ ...report, frame_ms: 0 }, {
    type: "report", page: link.page, ack: 7, wait_ms: 12, frame_ms: 0, age_ms: 0, painted: 1, visible: true,
  });
  assert.ok(report.frame_ms > 4);
  tick();
  assert.equal(reports()[1].painted, 0);
});

test("the age is that of the newest frame, against the fastest", () => {
  link.open(view());
  for (const [sequence, late] of [[1, 30], [2, 930], [3, 130]]) {
    link.receive(frame(sequence, { at: now - late }));
    screen();
  }
  tick();
  assert.equal(reports()[0].age_ms, 100);
});

test("a frame that nobody painted is not acknowledged", () => {
  link.open(view({ paints: false }));
  link.receive(frame(5));
  screen();
  tick();
  assert.equal(reports()[0].ack, 0);
});

test("of two views the highest sequence is acknowledged", () => {
  const [one, other] = [view(), view()];
  link.open(one);
  link.open(other);
  assert.equal(sent.filter((message) => message.type === "open").length, 2);
  link.receive(frame(4));
  screen();
  one.paint = () => null;
  link.receive(frame(5));
  screen();
  tick();
  assert.equal(reports()[0].ack, 5);
  assert.deepEqual([one.painted, other.painted], [[4], [4, 5]]);
});

test("a view that opens later begins with the newest of each kind", () => {
  link.receive(frame(1, { kind: Kind.BARS_SNAPSHOT }));
  link.receive(frame(2, { kind: Kind.BARS }));
  const late = view();
  link.open(late);
  screen();
  assert.deepEqual(late.painted, [1, 2]);
});

test("who does not look says so at once, then once a second", () => {
  const one = view();
  link.open(one);
  tick();
  one.seen = false;
  for (let quarter = 0; quarter < 9; quarter += 1) tick();
  const told = reports().map((report) => report.visible);
  assert.equal(told[0], true);
  assert.equal(told[1], false);
  assert.ok(told.length <= 5);
  one.seen = true;
  tick();
  assert.equal(reports().at(-1).visible, true);
});

test("one view that is seen is enough", () => {
  link.open(view({ visible: false }));
  link.open(view());
  tick();
  assert.equal(reports()[0].visible, true);
});

test("the last view that closes ends the reports", () => {
  const [one, other] = [view(), view()];
  link.open(one);
  link.open(other);
  link.close(one);
  assert.equal(ticks.size, 1);
  link.close(other);
  assert.equal(ticks.size, 0);
  assert.deepEqual(sent.at(-1), { type: "close", page: link.page });
  link.open(one);
  assert.equal(ticks.size, 1);
});

test("without a sign of the kernel it is stale, unless the feed has stopped", () => {
  link.open(view());
  now += 60_000;
  assert.equal(link.stale, 0); // nothing was heard yet: that is waiting
  link.receive(frame(1));
  now += 2000;
  assert.equal(link.stale, 0);
  now += 500;
  assert.equal(link.stale, 2500);
  frames.length = 0;
  link._scheduled = false;
  tick();
  assert.equal(frames.length, 1); // the seconds are counted on
  link.receive(frame(2, { state: State.STOPPED }));
  now += 60_000;
  assert.equal(link.stale, 0);
});

test("the origin stays when a frame has none", () => {
  link.receive(frame(1, { origin: 5 }));
  link.receive(frame(2, { origin: 0, kind: Kind.BLANK }));
  assert.equal(link.origin, "simulated");
});

test("another symbol's first frame ends what was there", () => {
  const one = view();
  link.open(one);
  link.receive(frame(1, { kind: Kind.BARS_SNAPSHOT, origin: 5 }));
  link.receive(frame(2, { origin: 0, kind: Kind.BLANK, flags: Flag.FRESH }));
  assert.deepEqual([...link.newest.keys()], [Kind.BLANK]);
  assert.equal(link.origin, "");
});

test("what a view asks goes out as it is", () => {
  link.ask("older", { type: "no", before: 5 });
  assert.deepEqual(sent, [{ type: "older", before: 5 }]);
});

test("how late a message is, is told by the fastest of the last minute or two", () => {
  const travel = new Travel();
  assert.equal(travel.late(START - 5000, START), 0); // clocks differ by 5 s
  assert.equal(travel.late(START - 4900, START + 140), 40);
  assert.equal(travel.late(START - 4900, START + 90), 0);
  // The way has become longer for good: after two minutes that is how it is.
  let late = 0;
  for (let second = 1; second <= 150; second += 1) late = travel.late(START + second * 1000 - 4900, START + second * 1000 + 390);
  assert.equal(late, 0);
});
