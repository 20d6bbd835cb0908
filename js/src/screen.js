/** The screen's rhythm: the shortest step between two of its frames lately, since a busy page skips some. */

// Screens have 30 to 240 Hz; what is beyond that is a hiccup of the clock, or a page that skips every other frame.
const SHORTEST_MS = 4;
const LONGEST_MS = 40;
const LOOKS = 12;

export class Screen {
  /** @param {(callback: (time: number) => void) => void} schedule as requestAnimationFrame */
  constructor(schedule = (callback) => requestAnimationFrame(callback)) {
    this.frameMs = 1000 / 60;
    this._schedule = schedule;
    this._steps = [];
    this._looking = false;
  }

  /** Learn from the next two steps; to be called again and again, as a window may move to another screen. */
  look() {
    if (this._looking) return;
    this._looking = true;
    this._schedule((first) => this._schedule((second) => this._schedule((third) => this._learn(first, second, third))));
  }

  _learn(first, second, third) {
    this._looking = false;
    const step = Math.min(second - first, third - second);
    if (step < SHORTEST_MS || step > LONGEST_MS) return;
    this._steps.push(step);
    if (this._steps.length > LOOKS) this._steps.shift();
    this.frameMs = Math.min(...this._steps);
  }
}

/** The page's. */
export const screen = new Screen();
