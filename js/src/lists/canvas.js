/** A canvas that fills its place, with one unit for each of the page's pixels, however many the screen has. */

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
    this._fit();
  }

  _fit() {
    const scale = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(this.width * scale), Math.round(this.height * scale)];
    if (this.element.width === wide && this.element.height === high) return;
    this.element.width = wide;
    this.element.height = high;
  }

  /** Begin a picture: the whole canvas in one colour. */
  clear(colour) {
    this._fit();
    const scale = window.devicePixelRatio || 1;
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
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
