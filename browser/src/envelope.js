// The envelope (docs/reference/envelope.md): steps 1 to 12 of its checking. Knows no network and no storage.
import { ed25519 } from "@noble/curves/ed25519.js";
import { decodeBase64, fingerprint, hashHex } from "./bytes.js";
import { CLIP_ID, KEY_ID, SHA256, SHORT_NAME, fraction, integer, isMoment, orNull, parseCanonical, text } from "./fields.js";
import { readFlac } from "./flac.js";

const ENVELOPE_LIMIT_BYTES = 1050853;
const MAGIC = "EARMARK/1";
const HEADER = {
  clip: text(CLIP_ID), codec: text(/^flac$/), device: text(SHORT_NAME), dkey: text(KEY_ID), okey: text(KEY_ID),
  owner: text(SHORT_NAME), seq: integer(1, 999999999999), t: isMoment, ttl_s: integer(1, 315360000), v: integer(1, 1),
};
const SEAL = { bytes: integer(1, 1048576), sha256: text(SHA256) };
const PRIVATE = {
  boot: text(/^[0-9a-f]{16}$/), end_reason: text(/^[a-z-]{1,32}$/), model: text(SHA256), ms: integer(1, 60000),
  pre_ms: integer(0, 60000), rate: integer(8000, 48000), score: fraction(0, 1), spk: orNull(fraction(-1, 1)), word: text(SHORT_NAME),
};
const KEY = "[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]";
const AGE_HEADER = new RegExp(
  `^age-encryption\\.org/v1\\n-> X25519 ${KEY}\\n${KEY}\\n`
  + "(?:-> [!-~]{0,9}-grease(?: [!-~]{1,9}){0,4}\\n(?:[A-Za-z0-9+/]{64}\\n){0,2}[A-Za-z0-9+/]{0,63}\\n)?"
  + `--- ${KEY}\\n`,
);

/** A clip that is not what its speaker signed; `reason` is a key of the texts. */
export class BadEnvelope extends Error {
  constructor(reason, detail = "") {
    super(detail || reason);
    this.reason = reason;
  }
}

/** A valid clip that is sealed to a key which this browser does not have. */
export class NotForYou extends Error {}

const latin1 = (bytes) => {
  let out = "";
  for (const byte of bytes) out += String.fromCharCode(byte);
  return out;
};

function attempt(reason, work) {
  try {
    return work();
  } catch (error) {
    throw error instanceof BadEnvelope ? error : new BadEnvelope(reason, error.message);
  }
}

/** Split an envelope into its lines and check their form; verify nothing. */
export function parseEnvelope(data) {
  if (data.length > ENVELOPE_LIMIT_BYTES) throw new BadEnvelope("form", "the envelope is too long");
  const ends = [];
  let from = 0;
  for (const limit of [MAGIC.length, 2048, 128, 88]) {
    const end = data.subarray(from, from + limit + 1).indexOf(10);
    if (end < 0) throw new BadEnvelope("form", "a line has no end within its limit");
    ends.push([from, from + end]);
    from += end + 1;
  }
  const line = (n) => latin1(data.subarray(...ends[n]));
  if (line(0) !== MAGIC) throw new BadEnvelope("form", "this is not an EARMARK/1 envelope");
  const header = attempt("header", () => parseCanonical(line(1), HEADER));
  const seal = attempt("header", () => parseCanonical(line(2), SEAL));
  const signature = attempt("signature", () => decodeBase64(line(3)));
  if (signature.length !== 64) throw new BadEnvelope("signature");
  return { header, seal, signature, signed: data.subarray(0, ends[2][1] + 1), ciphertext: data.subarray(from) };
}

/**
 * Check an envelope with public keys.
 * devices: by name, a list of {key, lastSeq}; lastSeq is null for a key in use.
 * owners: by name, a list of fingerprints of the owner's keys.
 */
export function verifyEnvelope(data, devices, owners) {
  const envelope = parseEnvelope(data);
  const { header, seal } = envelope;
  const known = Object.hasOwn(devices, header.device) ? devices[header.device] : [];
  const trusted = known.find((one) => fingerprint(one.key) === header.dkey);
  if (!trusted) throw new BadEnvelope(known.length ? "other-key" : "device", header.device);
  if (trusted.lastSeq !== null && header.seq > trusted.lastSeq) throw new BadEnvelope("retired", header.device);
  const isSigned = attempt("signature", () => ed25519.verify(envelope.signature, envelope.signed, trusted.key, { zip215: false }));
  if (!isSigned) throw new BadEnvelope("signature");
  const keys = Object.hasOwn(owners, header.owner) ? owners[header.owner] : [];
  if (!keys.includes(header.okey)) throw new BadEnvelope("owner", header.owner);
  if (envelope.ciphertext.length !== seal.bytes || hashHex(envelope.ciphertext) !== seal.sha256) throw new BadEnvelope("changed");
  const age = AGE_HEADER.exec(latin1(envelope.ciphertext.subarray(0, 512)));
  if (!age || envelope.ciphertext.length < age[0].length + 32) throw new BadEnvelope("recipients");
  return envelope;
}

/**
 * Verify and open an envelope.
 * identities: list of {okey, decrypt(ciphertext)}; owners: as for verifyEnvelope.
 * Return {header, inner, flac, sound}; inner are the private fields, sound the samples.
 */
export async function openEnvelope(data, identities, devices, owners) {
  const envelope = verifyEnvelope(data, devices, owners);
  const identity = identities.find((one) => one.okey === envelope.header.okey);
  if (!identity) throw new NotForYou(envelope.header.owner);
  let flac;
  try {
    flac = await identity.decrypt(envelope.ciphertext);
  } catch (error) {
    throw new BadEnvelope("decrypt", error.message);
  }
  const { inner, sound } = attempt("sound", () => checkClip(flac, envelope.header));
  return { header: envelope.header, inner, flac, sound };
}

function checkClip(flac, header) {
  const { comment, rate, samples, sound } = readFlac(flac);
  if (comment.length > 4096) throw new Error("the comment is too long");
  const fields = parseCanonical(comment, { ...HEADER, ...PRIVATE });
  if (fields.pre_ms > fields.ms) throw new Error("the wake is after the end");
  if (fields.rate !== rate || fields.ms !== Math.floor((samples * 1000) / rate)) throw new Error("the sound contradicts its fields");
  for (const name of Object.keys(HEADER)) {
    if (fields[name] !== header[name]) throw new BadEnvelope("inner", name);
  }
  return { inner: fields, sound };
}
