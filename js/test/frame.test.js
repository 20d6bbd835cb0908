import assert from "node:assert/strict";
import { test } from "node:test";
import { HEADER_BYTES, Kind, State, columns, decode } from "../src/frame.js";

/** A frame's bytes, `shift` bytes into their buffer, as a message brings them. */
function packed(numbers, { kind = Kind.BOOK, state = State.RUNNING, origin = 5, flags = 0, sequence = 1, counts = [0, 0], sent = 0, shift = 0 } = {}) {
  const buffer = new ArrayBuffer(shift + HEADER_BYTES + numbers.length * 8);
  const view = new DataView(buffer, shift);
  view.setUint32(0, (kind | (state << 8) | (origin << 16) | (flags << 24)) >>> 0, true);
  [sequence, ...counts].forEach((value, at) => view.setUint32(4 + at * 4, value, true));
  [10, 20, sent, 77].forEach((value, at) => view.setFloat64(16 + at * 8, value, true));
  numbers.forEach((value, at) => view.setFloat64(HEADER_BYTES + at * 8, value, true));
  return view;
}

test("what is in the header", () => {
  const frame = decode(packed([], { kind: Kind.WATCH, state: State.STOPPED, origin: 4, flags: 255, sequence: 2 ** 32 - 1, counts: [3, 4], sent: 30 }));
  const { numbers, ...header } = frame;
  assert.deepEqual(header, {
    kind: Kind.WATCH, state: State.STOPPED, origin: "replay", flags: 255, sequence: 2 ** 32 - 1,
    counts: [3, 4], oldest: 10, newest: 20, sent: 30, id: 77,
  });
  assert.equal(numbers.length, 0);
});

for (const shift of [0, 1, 4, 8]) {
  test(`numbers that begin ${shift} bytes into a message`, () => {
    const frame = decode(packed([1.5, NaN, -Infinity], { shift }));
    assert.deepEqual([...frame.numbers], [1.5, NaN, -Infinity]);
  });
}

test("bytes in a buffer of their own", () => {
  assert.deepEqual([...decode(packed([1, 2]).buffer).numbers], [1, 2]);
});

test("columns follow one another", () => {
  const frame = decode(packed([1, 2, 3, 4, 5]));
  assert.deepEqual(columns(frame, 2, 0, 3).map((column) => [...column]), [[1, 2], [], [3, 4, 5]]);
});

test("an origin of a later version is none", () => {
  assert.equal(decode(packed([], { origin: 99 })).origin, "");
});

test("bytes that are no frame", () => {
  for (const length of [0, 47, 49]) assert.throws(() => decode(new ArrayBuffer(length)), RangeError);
});
