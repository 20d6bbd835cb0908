/**
 * Lines over the candles. Each keeps what it needs to go on from any bar, so that a new trade costs one step.
 * Missing bars have no value: a simple average needs all its bars, an exponential one goes on behind the hole, and the
 * day's volume weighted one begins anew there, since nobody knows what was traded.
 */

import { isMissing, isOneDay } from "./bars.js";

const DAY = 86_400_000_000;

/** An overlay by its text: `sma 20`, `ema 50`, `vwap`; null where there is no such thing. */
export function overlay(text) {
  const [kind, length] = text.trim().toLowerCase().split(/\s+/);
  if (kind === "sma") return new Sma(Number(length));
  if (kind === "ema") return new Ema(Number(length));
  return kind === "vwap" ? new Vwap() : null;
}

class Overlay {
  constructor(name) {
    this.name = name;
    this.values = [];
    this.states = [];
  }

  /** Reckon the values from a bar on. */
  reckon(bars, from) {
    this.values.length = this.states.length = from;
    for (let at = from; at < bars.list.length; at += 1) {
      const [value, state] = this.step(bars, at, this.states[at - 1]);
      this.values.push(value);
      this.states.push(state);
    }
  }

  /** Forget the values of the oldest bars. */
  trim(count) {
    this.values.splice(0, count);
    this.states.splice(0, count);
  }
}

class Sma extends Overlay {
  constructor(length) {
    super(`SMA ${length}`);
    this.length = length;
  }

  step({ list }, at) {
    if (at + 1 < this.length) return [NaN, null];
    let sum = 0;
    // The sum of a missing bar's NaN is NaN.
    for (let place = at - this.length + 1; place <= at; place += 1) sum += list[place].close;
    return [sum / this.length, null];
  }
}

class Ema extends Overlay {
  constructor(length) {
    super(`EMA ${length}`);
    this.length = length;
  }

  step({ list }, at, { value, sum, count } = { value: NaN, sum: 0, count: 0 }) {
    const bar = list[at];
    if (isMissing(bar)) return [NaN, { value, sum, count }];
    if (count >= this.length) value += ((bar.close - value) * 2) / (this.length + 1);
    else {
      sum += bar.close;
      count += 1;
      if (count === this.length) value = sum / count;
    }
    return [value, { value, sum, count }];
  }
}

class Vwap extends Overlay {
  constructor() {
    super("VWAP");
    this.begins = ({ time }) => time % DAY === 0;
  }

  /** From when on the newest value is added up, if that is later than midnight; else null. */
  since({ interval }) {
    const since = this.states.at(-1)?.since;
    return interval < DAY && since % DAY ? since : null;
  }

  step({ list, anchor, interval }, at, former) {
    const bar = list[at];
    if (isMissing(bar) || interval >= DAY) return [NaN, null];
    const { time: since, quoteVolume: quote, volume: base } = anchor;
    const state = at ? former : { since, quoteVolume: quote, volume: base };
    const goesOn = state && isOneDay(state.since, bar.time);
    const quoteVolume = (goesOn ? state.quoteVolume : 0) + bar.quoteVolume;
    const volume = (goesOn ? state.volume : 0) + bar.volume;
    return [volume ? quoteVolume / volume : NaN, { since: goesOn ? state.since : bar.time, quoteVolume, volume }];
  }
}
