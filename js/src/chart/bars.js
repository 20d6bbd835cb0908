/** The bars of a chart as the kernel tells them: a whole window now and then, else the last two. */

import { Kind } from "../frame.js";

export const Mark = Object.freeze({ MISSING: 1, HEALED: 2, PARTIAL: 4 });

const FIELDS = ["time", "open", "high", "low", "close", "volume", "quoteVolume", "trades", "mark"];
const NUMBERS = ["change", "interval", "revision", "anchor", "anchorQuoteVolume", "anchorVolume"];

/**
 * The bars of a frame, and the numbers behind them. Times are microseconds since 1970 UTC.
 * @param {{kind: number, counts: number[], numbers: Float64Array}} frame
 */
export function barsOf({ counts: [count, more], numbers }) {
  const bars = Array.from({ length: count }, (_, at) =>
    Object.fromEntries(FIELDS.map((field, place) => [field, numbers[place * count + at]])),
  );
  const told = Object.fromEntries(NUMBERS.slice(0, more).map((name, at) => [name, numbers[FIELDS.length * count + at]]));
  return { bars, ...told };
}

export function isMissing(bar) {
  return (bar.mark & Mark.MISSING) !== 0;
}

const DAY = 86_400_000_000;

/** Whether two times are of one day (UTC), in microseconds. */
export function isOneDay(one, other) {
  return Math.floor(one / DAY) === Math.floor(other / DAY);
}

/** What was traded since midnight, or since the hole after it, when a bar is over: what lies before the next one. */
function behind(anchor, bar) {
  if (isMissing(bar)) return { time: NaN, quoteVolume: 0, volume: 0 };
  const { time, quoteVolume, volume } = isOneDay(anchor.time, bar.time) ? anchor : { time: bar.time, quoteVolume: 0, volume: 0 };
  return { time, quoteVolume: quoteVolume + bar.quoteVolume, volume: volume + bar.volume };
}

function isSame(one, other) {
  return FIELDS.every((field) => Object.is(one[field], other[field]));
}

/** What is drawn: `list` with the oldest bar first, `interval` in microseconds, `change` of the kernel's window. */
export class Bars {
  constructor() {
    this.list = [];
    this.interval = 0;
    this.revision = 0;
    this.change = NaN;
    this.anchor = { time: 0, quoteVolume: 0, volume: 0 };
    this.window = 0;
  }

  get last() {
    return this.list.at(-1) ?? null;
  }

  /**
   * Takes a frame.
   * @returns {number | null} from which bar on all is different (0: everything), the count of bars where nothing is;
   *   null where the frame does not follow from what is here
   */
  take(frame) {
    const told = barsOf(frame);
    if (frame.kind === Kind.BARS_SNAPSHOT) return this._replace(told);
    if (told.revision !== this.revision || !told.bars.length) return null;
    return this._join(told);
  }

  _replace(told) {
    this.list = told.bars;
    this.window = told.bars.length;
    this.interval = told.interval;
    this.revision = told.revision;
    this.change = told.change;
    this.anchor = { time: told.anchor, quoteVolume: told.anchorQuoteVolume, volume: told.anchorVolume };
    return 0;
  }

  _join({ bars, change }) {
    const { list } = this;
    let at = list.length - 1;
    while (at >= 0 && list[at].time > bars[0].time) at -= 1;
    if (at < 0 || list[at].time !== bars[0].time || at + bars.length < list.length) return null;
    let first = list.length;
    bars.forEach((bar, place) => {
      if (at + place < list.length && isSame(list[at + place], bar)) return;
      list[at + place] = bar;
      first = Math.min(first, at + place);
    });
    this.change = change;
    return first;
  }

  /** Lets go of the oldest bars beyond the window, in portions; returns how many. */
  trim() {
    const spare = Math.max(50, this.window >> 2);
    const surplus = this.list.length - this.window;
    if (surplus <= spare) return 0;
    this.anchor = this.list.splice(0, surplus).reduce(behind, this.anchor);
    return surplus;
  }

  /** Where a bar is by its time in microseconds; -1: nowhere. */
  indexOf(time) {
    let [low, high] = [0, this.list.length - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.list[middle].time === time) return middle;
      if (this.list[middle].time < time) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}
