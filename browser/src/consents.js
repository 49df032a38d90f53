// Consents to voice control, each proven to one speaker (listener/voice/consent.py; decision 0056).
import { ed25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { decodeBase64, encodeBase64, encodeText, fingerprint, parseDeviceKey } from "./bytes.js";
import { CODE, KEY_ID, PUBLIC_KEY, SHORT_NAME, canonical, checkFields, integer, text } from "./fields.js";

const CONTEXT = "EARMARK/VOICE/1\n";
const LAST_NUMBER = 2 ** 53;
const isFlag = integer(0, 1);
const CONSENT = {
  assist: text(PUBLIC_KEY), code: text(CODE), device: text(SHORT_NAME), n: integer(1, LAST_NUMBER - 1), okey: text(KEY_ID),
  on: isFlag, owner: text(SHORT_NAME), v: integer(1, 1),
};

/** Return the MAC of a consent by the owner's key for one speaker. */
async function makeCode(consent, identity, deviceKey) {
  const { code, ...fields } = consent;
  const theirs = ed25519.utils.toMontgomery(deviceKey), mine = identity.publicBytes;
  const shared = await identity.agree(theirs);
  const salt = new Uint8Array([...mine, ...theirs]);
  const secret = hkdf(sha256, shared, salt, encodeText(CONTEXT), 32);
  return encodeBase64(hmac(sha256, secret, encodeText(CONTEXT + canonical(fields))));
}

/** Make the owner's next consent for one speaker. last: number of the newest consent known, or 0. */
export async function makeConsent({ assist, device, isOn, last, owner, identity, deviceKey }) {
  parseDeviceKey(assist);
  const consent = {
    assist, device, n: Math.max(last + 1, Math.floor(Date.now() / 1000)), okey: identity.okey, on: isOn ? 1 : 0, owner, v: 1,
  };
  return { ...consent, code: await makeCode(consent, identity, deviceKey) };
}

/** As a request has it: without owner, key and version. */
export const asRequest = ({ assist, code, device, n, on }) => ({ assist, code, device, n, on });

/**
 * Compare the stored consents and the speakers' statements with the owner's own keys; nothing else is believed.
 * Return, by speaker, {given, status}: the owner's last consent with a valid code, and what the speaker signed.
 */
export async function readConsents(reply, recorded, speakers, owner, identities) {
  const found = {};
  for (const { name, key } of speakers) {
    const deviceKey = parseDeviceKey(key);
    let given = recorded[name] ?? null;
    for (const one of Array.isArray(reply.consents) ? reply.consents : []) {
      if (one?.device === name && await isOwn(one, owner, identities, deviceKey) && (given === null || one.n > given.n)) given = one;
    }
    found[name] = { given, status: readStatus(reply.status?.[name], owner, name, deviceKey), isForwarded: (reply.forwarded ?? []).includes(name) };
  }
  return found;
}

async function isOwn(consent, owner, identities, deviceKey) {
  try {
    checkFields(consent, CONSENT);
    const identity = identities.find((one) => one.okey === consent.okey);
    return consent.owner === owner && identity !== undefined && await makeCode(consent, identity, deviceKey) === consent.code;
  } catch {
    return false;
  }
}

const STATUS_CONTEXT = "EARMARK/VOICE-STATUS/1\n";

function readStatus(signed, owner, device, deviceKey) {
  try {
    const { voice, signature } = signed;
    if (voice.owner !== owner || voice.device !== device) return null;
    const isSigned = ed25519.verify(decodeBase64(signature), encodeText(STATUS_CONTEXT + canonical(voice)), deviceKey, { zip215: false });
    return isSigned && Number.isSafeInteger(voice.n) && isFlag(voice.on) ? voice : null;
  } catch {
    return null;
  }
}

export const assistFingerprint = (assist) => fingerprint(parseDeviceKey(assist));

/** How a speaker's statement compares with the last consent; see listener/clips/voice_view.py. */
export function consentState({ given, status }) {
  if (given === null) return status !== null && status.on ? "changed" : "none";
  if (status === null) return "unconfirmed";
  if (status.n !== given.n) return status.n < given.n ? "behind" : "changed";
  if (status.on === given.on && status.assist === assistFingerprint(given.assist)) return "follows";
  return status.on ? "changed" : "refused";
}
