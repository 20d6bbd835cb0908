/** The buttons that choose the interval. */

export class Switch {
  /** @param {(interval: string) => void} chosen */
  constructor(chosen) {
    this.element = Object.assign(document.createElement("span"), { className: "ml-switch" });
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", "interval");
    this.names = [];
    this.element.addEventListener("click", ({ target }) => {
      if (target.dataset?.interval) chosen(target.dataset.interval);
    });
  }

  /** The choices, among which the present one always is. */
  offer(names, present) {
    const wanted = names.includes(present) ? names : [...names, present];
    if (wanted.join() !== this.names.join()) {
      this.names = wanted;
      this.element.replaceChildren(...wanted.map(button));
    }
    for (const each of this.element.children) {
      each.setAttribute("aria-pressed", String(each.dataset.interval === present));
    }
  }
}

function button(name) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = made.dataset.interval = name;
  return made;
}
