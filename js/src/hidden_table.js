/** A table that is not seen, for those who have the page read to them; canvases say nothing. */

import { put } from "./header.js";

export class HiddenTable {
  /**
   * @param {HTMLElement} home
   * @param {string[]} titles of the columns
   */
  constructor(home, titles) {
    const make = (kind, name, place) => {
      const element = Object.assign(document.createElement(kind), { className: name });
      place.append(element);
      return element;
    };
    this.element = make("table", "ml-hidden", home);
    this.caption = make("caption", "", this.element);
    const head = make("tr", "", make("thead", "", this.element));
    for (const title of titles) Object.assign(make("th", "", head), { textContent: title, scope: "col" });
    this.body = make("tbody", "", this.element);
  }

  /** Say these rows of texts; only what is different is touched. */
  show(caption, rows) {
    put(this.caption, caption);
    const { body } = this;
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((texts, i) => {
      const line = body.rows[i] ?? body.insertRow();
      texts.forEach((text, k) => put(line.cells[k] ?? line.insertCell(), text));
    });
  }
}
