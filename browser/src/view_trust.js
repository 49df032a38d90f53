// The owner's key and the keys that they trust: those of their speakers and of the archive.
import { BadCard } from "./card.js";
import { PUBLIC_KEY, SHORT_NAME } from "./fields.js";
import { field, h } from "./dom.js";
import { fingerprint, parseDeviceKey } from "./bytes.js";
import { loadCodes } from "./codes.js";
import { parseKeys } from "./replies.js";
import { t } from "./texts.js";
import { updateKept } from "./owner.js";

export function trustView(page) {
  const { owner } = page, { recipient } = owner.identities[0];
  const place = h("div", { class: "more" });
  page.main.replaceChildren(h("h2", { tabindex: "-1" }, t("nav.trust")),
    h("section", {}, h("h3", {}, t("trust.own")), h("p", {}, t("trust.own.text", { owner: owner.name })), h("p", { class: "key", "data-recipient": "" }, recipient),
      h("div", { class: "buttons" },
        h("button", { type: "button", "data-do": "code", onclick: (event) => page.run(async () => {
          place.replaceChildren((await loadCodes()).drawCode(recipient, t("make.code", { owner: owner.name })));
        }, event.target) }, t("make.show-code")),
        h("button", { type: "button", class: "danger", "data-do": "forget", onclick: () => page.leave() }, t("key.forget"))), place),
    speakersSection(page));
}

function speakersSection(page) {
  const { owner } = page;
  const list = h("ul", { class: "speakers" }, ...owner.speakers.map((one) => h("li", { "data-speaker": one.name },
    h("b", {}, one.name), " ", h("code", {}, fingerprint(parseDeviceKey(one.key))), one.last_seq === null ? "" : ` ${t("trust.retired", { number: one.last_seq })}`)));
  const line = h("input", { type: "text", autocomplete: "off", spellcheck: "false", "data-field": "speaker-key" });
  const add = h("button", { type: "submit", "data-do": "add-speaker" }, t("trust.add"));
  const result = h("div", {});
  const compare = h("button", { type: "button", "data-do": "compare", onclick: (event) => page.run(async () => {
    const { speakers } = parseKeys((await page.client.requestJson({ op: "keys" })).fields);
    const notes = differences(owner, speakers);
    result.replaceChildren(...(notes.length ? notes.map((text) => h("p", { class: "bad", "data-difference": "" }, text)) : [h("p", { "data-same": "" }, t("trust.same"))]));
  }, event.target) }, t("trust.compare"));
  return h("section", {}, h("h3", {}, t("trust.speakers")), h("p", {}, t("trust.speakers.text")),
    owner.speakers.length ? list : h("p", { class: "bad" }, t("trust.speakers.none")),
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      page.run(async () => {
        const [name, key, ...rest] = line.value.trim().replace(/^#\s*speaker\s+/, "").split(/\s+/);
        if (rest.length || !SHORT_NAME.test(name) || !PUBLIC_KEY.test(key ?? "")) throw new BadCard("trust.bad-line");
        if (owner.speakersInUse.some((one) => one.name === name && one.key !== key)) throw new BadCard("trust.other-key");
        if (page.start.entry === "computer") await page.client.post("/page/speaker", JSON.stringify({ name, key }));
        owner.addSpeaker({ name, key, last_seq: null });
        await updateKept(owner);
        page.show("trust");
        page.status.replaceChildren(t("trust.added", { name }), " ", h("code", {}, `# speaker ${name} ${key}`));
      }, add);
    } }, field(t("trust.line"), line, t("trust.line.note")), add),
    h("div", { class: "buttons" }, compare), result,
    owner.archive ? h("p", { class: "note" }, t("trust.archive", { key: fingerprint(parseDeviceKey(owner.archive)) })) : null);
}

/** Say where the archive's list of keys differs from the owner's; theirs stays. */
function differences(owner, reported) {
  const notes = [];
  for (const one of reported) {
    const own = owner.speakers.filter((other) => other.name === one.name);
    if (own.some((other) => other.key === one.key)) continue;
    if (one.is_retired) continue;
    notes.push(t(own.length ? "trust.differs" : "trust.unknown", { name: one.name }));
  }
  return notes;
}

