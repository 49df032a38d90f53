// Elements of the page. Texts are set as text, never as markup.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let lastId = 0;
/** A labelled field: the label, the control, and an optional note that describes it. */
export function field(label, control, note) {
  control.id = `field-${++lastId}`;
  const parts = [h("label", { for: control.id }, label), control];
  if (note) {
    control.setAttribute("aria-describedby", `${control.id}-note`);
    parts.push(h("p", { class: "note", id: `${control.id}-note` }, note));
  }
  return h("div", { class: "field" }, ...parts);
}

export function check(label, control) {
  control.id = `field-${++lastId}`;
  return h("div", { class: "check" }, control, h("label", { for: control.id }, label));
}

/** Offer bytes as a file. */
export function saveFile(name, bytes, type) {
  const url = URL.createObjectURL(bytes instanceof Blob ? bytes : new Blob([bytes], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Ask a question in a dialog; resolve to true if the owner agrees. */
export function ask(question, details, agree, refuse) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "question", class: "question" },
      h("h2", { id: "question" }, question),
      ...details.map((text) => h("p", {}, text)),
      h("div", { class: "buttons" },
        h("button", { type: "button", class: "danger", "data-do": "agree", onclick: () => dialog.close("yes") }, agree),
        h("button", { type: "button", "data-do": "refuse", autofocus: true, onclick: () => dialog.close("") }, refuse)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
