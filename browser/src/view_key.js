// The view before an owner is known: takes their key, or makes one.
import { BadCard, decodeCard, findLocked, LONGEST_CARD_BYTES, parseCard } from "./card.js";
import { check, field, h } from "./dom.js";
import { encodeText } from "./bytes.js";
import { loadCodes } from "./codes.js";
import { SHORT_NAME } from "./fields.js";
import { hasPasskeys, lockWithPasskey, unlockWithPassphrase } from "./identity.js";
import { Owner, canKeep, keep, keepWithPasskey, openKept } from "./owner.js";
import { t } from "./texts.js";

const LONGEST_LOCKED_BYTES = LONGEST_CARD_BYTES * 2;

export function keyView(page) {
  const name = h("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: "32", "data-field": "owner" });
  const file = h("input", { type: "file", "data-field": "file" });
  const pasted = h("textarea", { rows: "3", autocomplete: "off", spellcheck: "false", "data-field": "text" });
  const picture = h("input", { type: "file", accept: "image/*", "data-field": "picture" });
  const keeping = keepingChoice();
  const place = h("div", { class: "more" });

  const take = (bytes, control) => page.run(async () => {
    const locked = findLocked(bytes);
    if (locked) askPassphrase(locked);
    else await enter(decodeCard(bytes));
  }, control);

  function askPassphrase(locked) {
    const passphrase = h("input", { type: "password", autocomplete: "off", "data-field": "passphrase" });
    const button = h("button", { type: "submit", class: "main", "data-do": "unlock" }, t("key.unlock"));
    place.replaceChildren(h("form", { onsubmit: (event) => {
      event.preventDefault();
      page.run(async () => {
        page.say(t("key.unlocking"));
        let card;
        try {
          card = await unlockWithPassphrase(locked, passphrase.value);
        } catch {
          throw new BadCard("card.passphrase");
        } finally {
          passphrase.value = "";
          page.say("");
        }
        await enter(card);
      }, button);
    } }, field(t("key.passphrase"), passphrase, t("key.passphrase.note")), button));
    passphrase.focus();
  }

  async function enter(text) {
    const card = parseCard(text);
    const owner = page.start.owner ?? card.owner ?? name.value.trim();
    if (card.owner !== null && card.owner !== owner) throw new BadCard("card.other");
    if (!SHORT_NAME.test(owner)) {
      name.focus();
      throw new BadCard("card.name");
    }
    const made = await Owner.fromCard(card, owner, page.start);
    await page.identify(made);
    try {
      // The first request shows whether the key is this owner's.
      await page.client.requestJson({ limit: 1, op: "list" });
    } catch (error) {
      page.owner = null;
      throw error;
    }
    if (keeping.value() === "browser") {
      if (!canKeep(made)) throw new BadCard("key.keep.impossible");
      await keep(made);
    } else if (keeping.value() === "passkey") {
      await keepWithPasskey(made, await lockWithPasskey(text, `Earmark ${owner}`));
    }
    page.show("clips", true);
  }

  const scan = h("button", { type: "button", "data-do": "camera", onclick: () => scanWithCamera(page, place, (text) => take(encodeText(text))) }, t("key.camera"));
  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    file.value = "";
    if (!chosen) return;
    if (chosen.size > LONGEST_LOCKED_BYTES) page.warn(t("card.long"));
    else take(new Uint8Array(await chosen.arrayBuffer()), file);
  });
  picture.addEventListener("change", () => page.run(async () => {
    const chosen = picture.files[0];
    picture.value = "";
    if (!chosen) return;
    let text = null;
    try {
      text = await (await loadCodes()).readPicture(chosen);
    } catch {
      throw new BadCard("key.picture.bad");
    }
    if (text === null) throw new BadCard("key.picture.none");
    await take(encodeText(text), picture);
  }, picture));
  const use = h("form", { onsubmit: (event) => {
    event.preventDefault();
    const text = pasted.value;
    pasted.value = "";
    take(encodeText(text));
  } }, field(t("key.paste"), pasted), h("button", { type: "submit", "data-do": "paste" }, t("key.use")));

  page.main.replaceChildren(...[
    h("h2", { tabindex: "-1" }, t("key.title")),
    h("p", {}, t("key.intro")),
    page.kept?.locked ? keptSection(page) : null,
    page.start.owner ? h("p", {}, t("key.owner", { owner: page.start.owner })) : field(t("key.name"), name, t("key.name.note")),
    h("section", {}, h("h3", {}, t("key.take")), field(t("key.file"), file, t("key.file.note")), use,
      field(t("key.picture"), picture, t("key.picture.note")), scan, place),
    keeping.element,
    furtherSection(page, "key.make", (more) => more.makeSection(page)),
    furtherSection(page, "key.answer", (more) => more.answerSection(page)),
  ].filter(Boolean));
}

/** A part of the page whose code is loaded when it is opened. */
function furtherSection(page, title, fill) {
  const details = h("details", { "data-part": title }, h("summary", {}, t(title)));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) page.run(async () => details.append(...fill(await page.loadMore())));
  });
  return details;
}

function keptSection(page) {
  const unlock = h("button", { type: "button", class: "main", "data-do": "passkey", onclick: () => page.run(async () => {
    let owner;
    try {
      owner = await openKept(page.kept, page.start, parseCard);
    } catch {
      throw new BadCard("key.passkey.failed");
    }
    await page.identify(owner);
    page.show("clips", true);
  }, unlock) }, t("key.passkey.unlock"));
  return h("section", {}, h("p", {}, t("key.passkey.kept", { owner: page.kept.name })), unlock,
    h("button", { type: "button", onclick: () => page.leave() }, t("key.forget")));
}

function keepingChoice() {
  const choices = ["nothing", "browser", ...(hasPasskeys() ? ["passkey"] : [])];
  const inputs = choices.map((value) => h("input", { type: "radio", name: "keep", value, checked: value === "nothing", "data-keep": value }));
  const element = h("fieldset", {}, h("legend", {}, t("key.keep")),
    ...inputs.map((input) => check(t(`key.keep.${input.value}`), input)), h("p", { class: "note" }, t("key.keep.note")));
  return { element, value: () => inputs.find((input) => input.checked).value };
}

function scanWithCamera(page, place, found) {
  const stop = new AbortController();
  const video = h("video", { class: "camera", muted: true, playsinline: true, "aria-label": t("key.camera.view") });
  place.replaceChildren(video, h("button", { type: "button", onclick: () => stop.abort() }, t("key.camera.stop")));
  page.run(async () => {
    let text;
    try {
      text = await (await loadCodes()).readCamera(video, stop.signal);
    } catch {
      throw new BadCard("key.camera.failed");
    } finally {
      place.replaceChildren();
    }
    if (text !== null) found(text);
  });
}
