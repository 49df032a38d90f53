// Consent to voice control, for each speaker.
import { PUBLIC_KEY } from "./fields.js";
import { asRequest, assistFingerprint, consentState, makeConsent, readConsents } from "./consents.js";
import { ask, field, h } from "./dom.js";
import { parseDeviceKey } from "./bytes.js";
import { parseKeys } from "./replies.js";
import { t } from "./texts.js";
import { write } from "./store.js";

export async function voiceView(page) {
  const place = h("div", {});
  page.main.replaceChildren(h("h2", { tabindex: "-1" }, t("nav.voice")), h("p", {}, t("voice.intro")), place);
  await page.run(() => draw(page, place, null));
}

async function draw(page, place, answer) {
  const { owner } = page;
  const reply = answer ?? (await page.client.requestJson({ op: "voice" })).fields;
  const speakers = owner.speakersInUse;
  const found = await readConsents(reply, owner.consents, speakers, owner.name, owner.identities);
  if (page.view !== "voice" || page.owner === null) return;
  const rows = speakers.map((speaker) => rowOf(page, place, speaker, found[speaker.name]));
  place.replaceChildren(...(rows.length ? rows : [h("p", {}, t("voice.none"))]));
}

function rowOf(page, place, speaker, found) {
  const { given, status } = found, state = consentState(found);
  const assist = h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: given?.on ? given.assist : "", "data-field": "assist" });
  const change = (isOn, control) => page.run(async () => {
    const key = isOn ? assist.value.trim() : given?.assist ?? speaker.key;
    if (!PUBLIC_KEY.test(key)) {
      page.warn(t("voice.assist.bad"));
      assist.focus();
      return;
    }
    if (isOn && !await ask(t("voice.question", { speaker: speaker.name }), [t("voice.fingerprint", { key: assistFingerprint(key) }), t("voice.details")], t("voice.yes"), t("erase.no"))) return;
    await give(page, place, { assist: key, isOn, speaker, found });
  }, control);
  return h("section", { "data-speaker": speaker.name, "data-state": state }, h("h3", {}, speaker.name),
    h("p", {}, given === null ? t("voice.given.none") : given.on ? t("voice.given.on", { key: assistFingerprint(given.assist) }) : t("voice.given.off")),
    state === "none" ? null : h("p", { class: ["follows", "unconfirmed", "behind"].includes(state) ? "" : "bad" }, t(`voice.state.${state}`)),
    status ? h("p", { class: "note" }, t("voice.counts", { asks: status.asks, copies: status.copies })) : null,
    field(t("voice.assist"), assist, t("voice.assist.note")),
    h("div", { class: "buttons" },
      h("button", { type: "button", "data-do": "voice-on", onclick: (event) => change(true, event.target) }, t("voice.on")),
      h("button", { type: "button", "data-do": "voice-off", onclick: (event) => change(false, event.target) }, t("voice.off"))));
}

async function give(page, place, { assist, isOn, speaker, found }) {
  const { owner } = page;
  const { active } = parseKeys((await page.client.requestJson({ op: "keys" })).fields);
  const identity = owner.identities.find((one) => one.okey === active);
  if (!identity) {
    page.warn(t("voice.key"));
    return;
  }
  const last = Math.max(found.given?.n ?? 0, found.status?.n ?? 0);
  const consent = await makeConsent({ assist, device: speaker.name, isOn, last, owner: owner.name, identity, deviceKey: parseDeviceKey(speaker.key) });
  const recorded = { assist, n: consent.n, okey: consent.okey, on: consent.on };
  // Recorded first: what the archive received may be in force even if its answer is lost.
  owner.consents = { ...owner.consents, [speaker.name]: recorded };
  await write("notes", `consents ${owner.name}`, owner.consents).catch(() => {});
  if (page.start.entry === "computer") await page.client.post("/page/consents", JSON.stringify({ consents: { [speaker.name]: recorded } }));
  const { fields } = await page.client.requestJson({ consents: [asRequest(consent)], op: "voice" });
  await draw(page, place, fields);
  page.say(t(isOn ? "voice.done.on" : "voice.done.off", { speaker: speaker.name }));
}
