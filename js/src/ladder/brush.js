/** A canvas as sharp as the screen, and text in columns that do not jump. */

import { fit } from "../canvas.js";

const MONOSPACE = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace";

export class Brush {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this._widths = new Map();
    this.resize(1, 1);
  }

  /** Take another size in CSS pixels; drawn over at the next `begin`. */
  resize(width, height) {
    this.width = Math.max(Math.floor(width), 1);
    this.height = Math.max(Math.floor(height), 1);
  }

  /** The page's font where all its digits are equally wide, else one whose are. */
  set family(family) {
    const { context } = this;
    context.font = `20px ${family}`;
    const widths = [..."0123456789"].map((digit) => context.measureText(digit).width);
    const tabular = Math.max(...widths) - Math.min(...widths) < 0.01;
    this._family = tabular ? family : MONOSPACE;
    this._widths.clear();
  }

  /** Start a picture: nothing is on it. */
  begin() {
    const { canvas, context } = this;
    if (fit(canvas, context, this.width, this.height)) {
      canvas.style.width = `${this.width}px`;
      canvas.style.height = `${this.height}px`;
    }
    context.clearRect(0, 0, this.width, this.height);
    context.globalAlpha = 1;
    context.textBaseline = "alphabetic";
  }

  font(size, bold = false) {
    this.context.font = `${bold ? "600 " : ""}${size}px ${this._family}`;
  }

  /** The width of so many digits at a font size. */
  widthOf(text, size) {
    const key = `${size} ${text.replace(/\d/g, "0")}`;
    let width = this._widths.get(key);
    if (width === undefined) {
      this.font(size);
      width = Math.ceil(this.context.measureText(text.replace(/\d/g, "0")).width);
      this._widths.set(key, width);
    }
    return width;
  }

  /** Text that ends at `x`. */
  right(text, x, y, colour) {
    const { context } = this;
    context.textAlign = "right";
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  left(text, x, y, colour) {
    const { context } = this;
    context.textAlign = "left";
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  centre(text, x, y, colour) {
    const { context } = this;
    context.textAlign = "center";
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  box(x, y, width, height, colour) {
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, width, height);
  }
}
