/**
 * Frames as the kernel packs them: a header of 48 bytes and columns of float64, little-endian. A frame is absolute:
 * whoever has the newest one needs none of those before.
 */

export const HEADER_BYTES = 48;

/** What the columns of a frame mean. */
export const Kind = Object.freeze({
  BLANK: 0, BOOK: 1, BARS: 2, BARS_SNAPSHOT: 3, TRADES: 4, WATCH: 5, SPARKS: 6, TRADES_KEPT: 7,
});

/** What the data is doing. */
export const State = Object.freeze({ WAITING: 0, RUNNING: 1, RECONNECTING: 2, STOPPED: 3, PAUSED: 4 });

export const Flag = Object.freeze({ VERIFIED: 1, LOADING: 2, PARTIAL: 4, FRESH: 8 });

const ORIGINS = ["", "stream", "rest", "backfill", "replay", "simulated"];

/**
 * A frame out of its bytes. Times are microseconds since 1970 UTC; `column(offset, length)` gives float64 numbers.
 * @param {DataView | ArrayBuffer} bytes
 * @throws {RangeError} these bytes are no frame
 */
export function decode(bytes) {
  const view = bytes instanceof DataView ? bytes : new DataView(bytes);
  if (view.byteLength < HEADER_BYTES || (view.byteLength - HEADER_BYTES) % 8) {
    throw new RangeError(`${view.byteLength} bytes are no frame`);
  }
  const word = view.getUint32(0, true);
  return {
    kind: word & 0xff,
    state: (word >>> 8) & 0xff,
    origin: ORIGINS[(word >>> 16) & 0xff] ?? "",
    flags: word >>> 24,
    sequence: view.getUint32(4, true),
    counts: [view.getUint32(8, true), view.getUint32(12, true)],
    oldest: view.getFloat64(16, true),
    newest: view.getFloat64(24, true),
    sent: view.getFloat64(32, true),
    id: view.getFloat64(40, true),
    numbers: numbersOf(view),
  };
}

function numbersOf(view) {
  const count = (view.byteLength - HEADER_BYTES) / 8;
  const start = view.byteOffset + HEADER_BYTES;
  // Buffers of a message may begin anywhere; numbers have to be aligned.
  if (start % 8 === 0) return new Float64Array(view.buffer, start, count);
  return new Float64Array(view.buffer.slice(start, start + count * 8));
}

/**
 * Cuts a frame's numbers into columns, one after another.
 * @param {{numbers: Float64Array}} frame
 * @param {number[]} lengths
 * @returns {Float64Array[]}
 */
export function columns(frame, ...lengths) {
  let at = 0;
  return lengths.map((length) => frame.numbers.subarray(at, (at += length)));
}
