// A list of any length of which only the rows near the view are in the document.
import { h } from "./dom.js";

const MORE_ROWS = 12;

/**
 * A listbox with one tab stop. items: {id} for a row, {heading} for a heading between rows.
 * describe(item) returns the children of a row; choose(item) is called by Enter, Space or a click.
 */
export class ClipList {
  constructor(label, describe, choose) {
    this.items = [];
    this.rows = [];
    this.active = -1;
    this.describe = describe;
    this.choose = choose;
    this.shown = new Map();
    this.space = h("div", { class: "space", role: "presentation" });
    this.element = h("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": label,
      onscroll: () => this.render(), onkeydown: (event) => this.#press(event), onfocus: () => this.#enter() }, this.space);
    new ResizeObserver(() => this.render()).observe(this.element);
  }

  /** Show these items; the place in the list stays. */
  show(items) {
    const id = this.rows[this.active]?.id;
    this.items = items;
    this.rows = items.filter((item) => item.id !== undefined);
    let position = 0;
    for (const [at, item] of items.entries()) {
      item.at = at;
      if (item.id !== undefined) item.position = position++;
    }
    this.active = id === undefined ? -1 : this.rows.findIndex((item) => item.id === id);
    // A row that stays keeps its element: a click may be on its way to it.
    for (const [at, element] of this.shown) {
      const item = items[at];
      if (item?.id === undefined || item.id !== element.dataset.clip) this.#remove(at);
      else {
        this.#number(element, item);
        element.replaceChildren(...this.describe(item));
      }
    }
    this.render();
  }

  /** Draw one item again. */
  update(id) {
    const item = this.rows.find((one) => one.id === id);
    const element = item && this.shown.get(item.at);
    if (element) element.replaceChildren(...this.describe(item));
  }

  render() {
    const height = this.#rowHeight();
    this.space.style.height = `${this.items.length * height}px`;
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - MORE_ROWS);
    const last = Math.min(this.items.length, Math.ceil((this.element.scrollTop + this.element.clientHeight) / height) + MORE_ROWS);
    for (const at of this.shown.keys()) if (at < first || at >= last) this.#remove(at);
    for (let at = first; at < last; at++) {
      if (this.shown.has(at)) continue;
      const element = this.#draw(this.items[at], at);
      element.style.transform = `translateY(${at * height}px)`;
      this.shown.set(at, element);
      // In the order of the list, for those who read the page without its styles.
      const after = [...this.shown.keys()].filter((other) => other > at).sort((one, other) => one - other)[0];
      this.space.insertBefore(element, after === undefined ? null : this.shown.get(after));
    }
    this.#mark();
  }

  #draw(item, at) {
    if (item.id === undefined) return h("div", { class: "heading", role: "presentation" }, item.heading);
    const row = h("div", { class: "row", role: "option", id: `row-${at}`, "data-clip": item.id, onclick: () => this.#click(at) }, ...this.describe(item));
    this.#number(row, item);
    return row;
  }

  #number(row, item) {
    row.setAttribute("aria-setsize", this.rows.length);
    row.setAttribute("aria-posinset", item.position + 1);
  }

  #remove(at) {
    this.shown.get(at).remove();
    this.shown.delete(at);
  }

  /** By the keyboard, the first row becomes the active one; a click chooses its own. */
  #enter() {
    if (this.active < 0 && this.element.matches(":focus-visible")) this.#move(0);
  }

  #click(at) {
    this.#move(this.items[at].position);
    this.choose(this.items[at]);
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 56;
  }

  #mark() {
    const item = this.rows[this.active];
    for (const [at, element] of this.shown) if (element.role === "option") element.setAttribute("aria-selected", String(at === item?.at));
    if (item && this.shown.has(item.at)) this.element.setAttribute("aria-activedescendant", `row-${item.at}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  #move(position) {
    if (!this.rows.length) return;
    this.active = Math.min(Math.max(position, 0), this.rows.length - 1);
    const height = this.#rowHeight(), top = this.rows[this.active].at * height;
    if (top < this.element.scrollTop + height) this.element.scrollTop = top - height;
    else if (top + height > this.element.scrollTop + this.element.clientHeight) this.element.scrollTop = top + height - this.element.clientHeight;
    this.render();
  }

  #press(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.#rowHeight()) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.#move(this.active + steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.rows[this.active]) this.choose(this.rows[this.active]);
    else return;
    event.preventDefault();
  }
}
