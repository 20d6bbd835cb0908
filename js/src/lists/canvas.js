/** A canvas that fills its place. */

import { fit } from "../canvas.js";

export class Surface {
  /** @param {HTMLElement} place */
  constructor(place, label) {
    this.element = document.createElement("canvas");
    this.element.style.cssText = "display:block;width:100%;height:100%";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", label);
    // JupyterLab would take the arrow keys for its cells.
    this.element.setAttribute("data-lm-suppress-shortcuts", "true");
    this.context = this.element.getContext("2d", { alpha: false });
    this.width = 0;
    this.height = 0;
    place.append(this.element);
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    fit(this.element, this.context, width, height);
  }

  /** Begin a picture: the whole canvas in one colour. */
  clear(colour) {
    fit(this.element, this.context, this.width, this.height);
    this.context.fillStyle = colour;
    this.context.fillRect(0, 0, this.width, this.height);
  }

  /** Words with their middle at `y`; returns their width. */
  text(words, x, y, colour, { align = "left", font } = {}) {
    const context = this.context;
    if (font && context.font !== font) context.font = font;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }

  rect(x, y, width, height, colour) {
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, width, height);
  }
}
