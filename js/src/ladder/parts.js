/** The ladder's elements on the page, and what people do to them. */

import { put } from "../header.js";
import { HiddenTable } from "../hidden_table.js";
import STYLE from "./style.css";

const FOOT = 29;

export class Parts {
  /**
   * @param {HTMLElement} body
   * @param {{step: Function, point: Function, leave: Function, key: Function}} calls
   */
  constructor(body, calls) {
    const make = (kind, name, home) => {
      const element = Object.assign(document.createElement(kind), { className: name });
      home.append(element);
      return element;
    };
    this.root = make("div", "ml-ladder", body);
    make("style", "", this.root).textContent = STYLE;
    this.levels = make("div", "ml-ladder-levels", this.root);
    this.canvas = make("canvas", "", this.levels);
    this.canvas.ariaHidden = "true";
    this.cardElement = make("div", "ml-ladder-card", this.levels);
    this.cardElement.hidden = true;
    this.voice = make("div", "ml-hidden", this.root);
    this.voice.setAttribute("aria-live", "polite");
    this.table = new HiddenTable(this.root, ["side", "price", "size", "total"]);
    this._foot(make, calls);
    this._listen(calls);
    this.height = 0;
  }

  _foot(make, calls) {
    const foot = make("div", "ml-ladder-foot", this.root);
    this.badgeElement = make("span", "ml-ladder-badge", foot);
    this.badgeMark = make("b", "", this.badgeElement);
    this.badgeText = make("span", "", this.badgeElement);
    this.tools = make("span", "ml-tools", foot);
    this.tools.hidden = true;
    const button = (text, label, by) => {
      const element = make("button", "", this.tools);
      Object.assign(element, { type: "button", textContent: text, title: label, ariaLabel: label });
      element.addEventListener("click", () => calls.step(by));
      return element;
    };
    this.finer = button("\u2212", "Finer price steps (\u2212)", -1);
    this.stepText = make("span", "", this.tools);
    this.stepText.title = "Levels are joined by this price step";
    button("+", "Coarser price steps (+)", 1);
  }

  _listen(calls) {
    const { levels } = this;
    levels.tabIndex = 0;
    levels.setAttribute("role", "application");
    // The notebook has its own use for arrows and the space bar.
    levels.dataset.lmSuppressShortcuts = "true";
    levels.addEventListener("pointermove", (event) => calls.point(event.clientY - levels.getBoundingClientRect().top));
    levels.addEventListener("pointerleave", () => calls.leave());
    levels.addEventListener("blur", () => calls.leave());
    levels.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !calls.key(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  name(symbol) {
    const keys = "up and down move along the levels, plus and minus join them by price, space pauses";
    this.levels.setAttribute("aria-label", `Order book of ${symbol}, asks above bids: ${keys}`);
  }

  resized(height) {
    this.height = Math.max(height - FOOT, 1);
  }

  badge({ mark, text, good }, title) {
    put(this.badgeMark, mark);
    put(this.badgeText, text);
    if (this.badgeElement.title !== title) this.badgeElement.title = title;
    if (this.badgeElement.dataset.good !== String(good)) this.badgeElement.dataset.good = String(good);
  }

  /** The price step as text, and whether there is a finer one. */
  step(text, finer) {
    this.tools.hidden = false;
    put(this.stepText, text);
    if (this.finer.disabled === finer) this.finer.disabled = !finer;
  }

  /**
   * The cost of a level, beyond its row, or else beyond the spread: it hides nothing of what it is about.
   * @param {string[][]} lines
   * @param {{y: number, row: number, spread: [number, number], above: boolean}} where
   */
  showCard(lines, { y, row, spread, above }) {
    const card = this.cardElement;
    while (card.children.length < lines.length) {
      const line = document.createElement("div");
      line.append(document.createElement("span"), document.createElement("span"));
      card.append(line);
    }
    lines.forEach(([label, value], i) => {
      put(card.children[i].firstChild, label);
      put(card.children[i].lastChild, value);
    });
    card.hidden = false;
    const high = card.offsetHeight;
    const over = (edge) => edge - high - 6;
    const [beyond, other] = above ? [over(y), spread[1] + 6] : [y + row + 6, over(spread[0])];
    const fits = beyond >= 0 && beyond + high <= this.height;
    card.style.top = `${Math.max(Math.min(fits ? beyond : other, this.height - high), 0)}px`;
  }

  hideCard() {
    this.cardElement.hidden = true;
  }

  /** Say what somebody has just done to whoever cannot see it. */
  say(text) {
    put(this.voice, text);
  }

  /** Nothing is known of any level. */
  clear() {
    this.tools.hidden = true;
    this.table.show("", []);
    this.hideCard();
  }

  destroy() {
    this.root.remove();
  }
}
