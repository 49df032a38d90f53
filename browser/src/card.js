// The key card: an age identity file whose comments name the owner, the archive's key and the speakers' keys
// (docs/reference/browser-page.md).
import { armor } from "age-encryption";
import { decodeText, parseDeviceKey } from "./bytes.js";
import { SHORT_NAME } from "./fields.js";

export const LONGEST_CARD_BYTES = 64 << 10;
const SECRET = /^AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}$/;
const LAST_NUMBER = 999999999999;

/** A text that is not a key card; `reason` is a key of the texts. */
export class BadCard extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** Return the age file in these bytes if it is encrypted with a passphrase, binary or armored; else null. */
export function findLocked(bytes) {
  const head = String.fromCharCode(...bytes.subarray(0, 40)).trimStart();
  if (head.startsWith("age-encryption.org/")) return bytes;
  if (!head.startsWith("-----BEGIN AGE ENCRYPTED FILE-----")) return null;
  try {
    return armor.decode(decodeText(bytes).trim());
  } catch {
    throw new BadCard("card.damaged");
  }
}

export function decodeCard(bytes) {
  if (bytes.length > LONGEST_CARD_BYTES) throw new BadCard("card.long");
  try {
    return decodeText(bytes);
  } catch {
    throw new BadCard("card.text");
  }
}

/** Parse a card; return {owner, archive, speakers: [{name, key, last_seq}], secrets}. */
export function parseCard(text) {
  if (text.length > LONGEST_CARD_BYTES) throw new BadCard("card.long");
  const card = { owner: null, archive: null, speakers: [], secrets: [] };
  let hasOther = false;
  for (const raw of text.replace(/^\ufeff/, "").split(/\r?\n|\r/)) {
    const line = raw.trim();
    if (line.startsWith("#")) readComment(line, card);
    else if (/^AGE-(SECRET-KEY-PQ-1|PLUGIN-)/i.test(line)) hasOther = true;
    else if (line) {
      if (!SECRET.test(line.toUpperCase())) throw new BadCard(line.startsWith("age1") ? "card.public" : "card.line");
      if (!card.secrets.includes(line.toUpperCase())) card.secrets.push(line.toUpperCase());
    }
  }
  if (!card.secrets.length) throw new BadCard(hasOther ? "card.kind" : "card.empty");
  return card;
}

function readComment(line, card) {
  const [word, ...values] = line.slice(1).trim().split(/\s+/);
  const isKey = (value) => {
    try {
      return Boolean(parseDeviceKey(value ?? ""));
    } catch {
      return false;
    }
  };
  let isRight = true;
  if (word === "owner") {
    isRight = values.length === 1 && SHORT_NAME.test(values[0]) && [null, values[0]].includes(card.owner);
    card.owner = values[0];
  } else if (word === "archive") {
    isRight = values.length === 1 && isKey(values[0]) && [null, values[0]].includes(card.archive);
    card.archive = values[0];
  } else if (word === "speaker") {
    const [name, key, last] = values;
    isRight = values.length >= 2 && values.length <= 3 && SHORT_NAME.test(name) && isKey(key)
      && (last === undefined || (/^\d{1,12}$/.test(last) && Number(last) <= LAST_NUMBER));
    card.speakers.push({ name, key, last_seq: last === undefined ? null : Number(last) });
  }
  if (!isRight) throw new BadCard("card.comment");
}

/** Write a card. */
export function formatCard({ owner, archive, speakers, recipient, secrets }) {
  const lines = ["# Earmark key card 1"];
  if (owner) lines.push(`# owner ${owner}`);
  if (archive) lines.push(`# archive ${archive}`);
  for (const one of speakers) lines.push(`# speaker ${one.name} ${one.key}${one.last_seq === null ? "" : ` ${one.last_seq}`}`);
  lines.push(`# public key: ${recipient}`, ...secrets);
  return `${lines.join("\n")}\n`;
}

/** Speakers' keys by name, as verifyEnvelope takes them. */
export function trustedDevices(speakers) {
  const devices = {};
  for (const one of speakers) (devices[one.name] ??= []).push({ key: parseDeviceKey(one.key), lastSeq: one.last_seq });
  return devices;
}
