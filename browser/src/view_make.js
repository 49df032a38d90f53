// A new key, made in this browser, and the answer to the household's bundle of challenges.
import { ed25519 } from "@noble/curves/ed25519.js";
import { armor } from "age-encryption";
import { BadCard, decodeCard, findLocked, formatCard, parseCard } from "./card.js";
import { PUBLIC_KEY, SHORT_NAME, canonical, text } from "./fields.js";
import { decodeBase64, decodeText, encodeText, fingerprint, ownerId, parseDeviceKey } from "./bytes.js";
import { field, h, saveFile } from "./dom.js";
import { generateSecret, importIdentity, lockWithPassphrase, unlockWithPassphrase } from "./identity.js";
import { loadCodes } from "./codes.js";
import { t } from "./texts.js";

const LEAST_PASSPHRASE = 10;

export function makeSection(page) {
  const name = h("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: "32", value: page.start.owner ?? "", required: true, "data-field": "new-name" });
  const first = h("input", { type: "password", autocomplete: "new-password", required: true, "data-field": "new-passphrase" });
  const second = h("input", { type: "password", autocomplete: "new-password", required: true, "data-field": "new-passphrase-again" });
  const make = h("button", { type: "submit", class: "main", "data-do": "make" }, t("make.button"));
  const place = h("div", { class: "more" });
  return [h("p", {}, t("make.intro")), h("form", { onsubmit: (event) => {
    event.preventDefault();
    page.run(async () => {
      const owner = name.value.trim();
      if (!SHORT_NAME.test(owner)) throw new BadCard("card.name");
      if (first.value.length < LEAST_PASSPHRASE) throw new BadCard("make.short");
      if (first.value !== second.value) throw new BadCard("make.differs");
      const passphrase = first.value;
      first.value = second.value = "";
      page.say(t("make.making"));
      const { secret, recipient } = await generateSecret();
      const card = formatCard({ owner, archive: null, speakers: [], recipient, secrets: [secret] });
      const locked = await lockWithPassphrase(card, passphrase);
      const codes = await loadCodes();
      saveFile(`${owner}.key.age`, locked, "application/octet-stream");
      page.say("");
      place.replaceChildren(h("p", { "data-made": recipient }, t("make.done", { file: `${owner}.key.age` })),
        h("p", { class: "key" }, recipient), codes.drawCode(recipient, t("make.code", { owner })), h("p", {}, t("make.next")),
        h("button", { type: "button", "data-do": "save-again", onclick: () => saveFile(`${owner}.key.age`, locked, "application/octet-stream") }, t("make.save-again")),
        h("button", { type: "button", "data-do": "sheet", onclick: () => printSheet(codes, owner, card, recipient) }, t("make.sheet")));
    }, make);
  } }, field(t("key.name"), name, t("key.name.note")), field(t("make.passphrase"), first, t("make.passphrase.note")), field(t("make.again"), second), make), place];
}

/** Print a sheet with the secret key; it leaves the document afterwards. */
function printSheet(codes, owner, card, recipient) {
  const secret = card.match(/AGE-SECRET-KEY-1\w+/)[0];
  const short = card.split("\n").filter((line) => !line.startsWith("# public key")).join("\n");
  const sheet = h("section", { class: "sheet" }, h("h2", {}, t("sheet.title", { owner })), h("p", {}, t("sheet.text")),
    codes.drawCode(short, t("sheet.code")), h("p", { class: "key" }, secret), h("p", {}, t("sheet.public")), h("p", { class: "key" }, recipient));
  document.body.append(sheet);
  const done = () => sheet.remove();
  addEventListener("afterprint", done, { once: true });
  print();
}

export function answerSection(page) {
  const bundle = h("input", { type: "file", "data-field": "bundle" }), card = h("input", { type: "file", "data-field": "bundle-key" });
  const passphrase = h("input", { type: "password", autocomplete: "off", "data-field": "bundle-passphrase" });
  const answer = h("button", { type: "submit", "data-do": "answer" }, t("answer.button"));
  const place = h("div", { class: "more" });
  return [h("p", {}, t("answer.intro")), h("form", { onsubmit: (event) => {
    event.preventDefault();
    page.run(async () => {
      if (!bundle.files[0] || !card.files[0]) throw new BadCard("answer.files");
      const found = parseBundle(await bytesOf(bundle.files[0]));
      let held = await bytesOf(card.files[0]);
      const locked = findLocked(held);
      if (locked) {
        try {
          held = encodeText(await unlockWithPassphrase(locked, passphrase.value));
        } catch {
          throw new BadCard("card.passphrase");
        } finally {
          passphrase.value = "";
        }
      }
      const { secrets } = parseCard(decodeCard(held));
      const answers = await answerBundle(found, secrets);
      saveFile(`${found.owner}.answers`, encodeText(`${JSON.stringify(answers, null, 1)}\n`), "application/octet-stream");
      const lines = [`# archive ${found.archive.key}`,
        ...found.challenges.filter((one) => one.place !== "archive").map((one) => `# speaker ${one.place} ${one.key}`)];
      place.replaceChildren(h("p", { "data-answered": answers.answers.length }, t("answer.done", { file: `${found.owner}.answers` })),
        h("ul", {}, ...found.challenges.map((one) => h("li", {}, h("b", {}, one.place), " ", h("code", {}, fingerprint(parseDeviceKey(one.key)))))),
        h("p", {}, t("answer.lines")), h("pre", { tabindex: "0" }, lines.join("\n")));
    }, answer);
  } }, field(t("answer.bundle"), bundle), field(t("answer.card"), card), field(t("key.passphrase"), passphrase, t("answer.passphrase.note")), answer), place];
}

const bytesOf = async (file) => new Uint8Array(await file.slice(0, 1 << 20).arrayBuffer());

function parseBundle(bytes) {
  try {
    const found = JSON.parse(decodeText(bytes));
    const isRight = found.v === 1 && found.kind === "owner-bundle" && text(SHORT_NAME)(found.owner) && text(/^age1[a-z0-9]{58}$/)(found.recipient)
      && text(PUBLIC_KEY)(found.archive.key) && Array.isArray(found.challenges) && found.challenges.length <= 256
      && found.challenges.every((one) => text(SHORT_NAME)(one.place) && text(PUBLIC_KEY)(one.key) && text(/^[\x00-\x7f]{1,4096}$/)(one.statement));
    if (isRight) return found;
  } catch {
    // One error for any other file.
  }
  throw new BadCard("answer.bundle.bad");
}

/** Decrypt each challenge, check what it is for, and return the file of answers. */
async function answerBundle(bundle, secrets) {
  let identity = null;
  for (const secret of secrets) {
    const one = await importIdentity(secret);
    if (one.recipient === bundle.recipient) identity = one;
  }
  if (identity === null) throw new BadCard("answer.other-key");
  const answers = [];
  for (const { place, key, statement } of bundle.challenges) {
    if (place === "archive" && key !== bundle.archive.key) throw new BadCard("answer.bundle.bad");
    const line = await answerPlace(bundle, place, parseDeviceKey(key), statement, identity);
    answers.push({ place, answer: line });
  }
  return { v: 1, kind: "owner-answers", owner: bundle.owner, answers };
}

async function answerPlace(bundle, place, key, statement, identity) {
  let line;
  try {
    const { owner, signature } = JSON.parse(statement);
    const isRight = ed25519.verify(decodeBase64(signature), encodeText(canonical(owner)), key, { zip215: false })
      && owner.v === 1 && owner.kind === "owner-challenge" && owner.device === place
      && owner.dkey === fingerprint(key) && owner.owner === bundle.owner && owner.recipient === bundle.recipient;
    if (!isRight) throw new Error("another statement");
    line = decodeText(await identity.decrypt(armor.decode(owner.challenge.trim()))).replace(/\n$/, "");
  } catch {
    throw new BadCard("answer.statement");
  }
  const form = new RegExp(`^${bundle.owner}:owner-at-${place}:${ownerId(bundle.recipient)}:[0-9]{1,12}:[a-z2-7]{26}$`);
  if (!form.test(line)) throw new BadCard("answer.something-else");
  return line;
}
