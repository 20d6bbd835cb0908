/**
 * What lightweight-charts does not draw itself: bands where bars are missing or partial, dotted lines where something
 * was fetched back, and the label of the last price in a tone that can be read.
 */

import { contrast, faint } from "../theme.js";
import { Mark } from "./bars.js";

const AMBER = "#e69f00";
const BAND = Mark.MISSING | Mark.PARTIAL;

/** Stretches of neighbouring marked bars as {from, to, mark}, times in seconds. */
export function stretches(list) {
  const found = [];
  for (const { time, mark } of list) {
    const kind = mark & BAND ? BAND : mark & Mark.HEALED;
    const at = time / 1e6;
    const last = found.at(-1);
    if (last && last.mark === kind) last.to = at;
    else found.push({ from: at, to: at, mark: kind });
  }
  return found.filter(({ mark }) => mark);
}

/** A primitive of a series. */
export class Marks {
  constructor() {
    this.stretches = [];
    this._label = { coordinate: () => -1, text: () => "", textColor: () => "#000", backColor: () => "#000", visible: () => false };
    this._labels = [this._label];
    this._views = [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this._draw(target) }) }];
  }

  attached({ chart, series, requestUpdate }) {
    this._chart = chart;
    this._series = series;
    this._request = requestUpdate;
  }

  paneViews() {
    return this._views;
  }

  priceAxisViews() {
    return this._labels;
  }

  /** Other bars are marked. */
  show(list) {
    this.stretches = stretches(list);
  }

  /** The last price with its colour. */
  label(price, text, back) {
    const ink = contrast("#ffffff", back) > contrast("#101010", back) ? "#ffffff" : "#101010";
    Object.assign(this._label, {
      coordinate: () => this._series?.priceToCoordinate(price) ?? -1,
      text: () => text,
      textColor: () => ink,
      backColor: () => back,
      visible: () => text !== "",
    });
  }

  _draw(target) {
    if (!this.stretches.length) return;
    const scale = this._chart.timeScale();
    const half = scale.options().barSpacing / 2;
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio: ratio }) => {
      for (const { from, to, mark } of this.stretches) {
        const [left, right] = [scale.timeToCoordinate(from), scale.timeToCoordinate(to)];
        if (left === null || right === null) continue;
        if (mark === BAND) {
          context.fillStyle = faint(AMBER, 0.14);
          context.fillRect((left - half) * ratio, 0, (right - left + 2 * half) * ratio, bitmapSize.height);
        }
        context.fillStyle = AMBER;
        const [start, width] = mark === BAND ? [left - half, right - left + 2 * half] : [left - 1.5, right - left + 3];
        context.fillRect(start * ratio, 0, width * ratio, 3 * ratio);
        if (mark !== BAND) dotted(context, left * ratio, bitmapSize.height, ratio);
      }
    });
  }
}

function dotted(context, x, height, ratio) {
  context.strokeStyle = faint(AMBER, 0.7);
  context.lineWidth = Math.max(1, Math.floor(ratio));
  context.setLineDash([2 * ratio, 3 * ratio]);
  context.beginPath();
  context.moveTo(Math.round(x) + 0.5, 0);
  context.lineTo(Math.round(x) + 0.5, height);
  context.stroke();
  context.setLineDash([]);
}
