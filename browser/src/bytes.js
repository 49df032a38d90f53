// Bytes and their text forms: hex, base64, base32, UTF-8, and the fingerprints of keys.
import { sha256 } from "@noble/hashes/sha2.js";

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const FINGERPRINT_BYTES = 15;

export const encodeText = (text) => new TextEncoder().encode(text);
export const encodeHex = (bytes) => Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
export const hashHex = (bytes) => encodeHex(sha256(bytes));
export const hashText = (text) => hashHex(encodeText(text));

/** Decode UTF-8; throw for other bytes. */
export const decodeText = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

export function encodeBase64(bytes) {
  let text = "";
  for (const one of bytes) text += String.fromCharCode(one);
  return btoa(text);
}

/** Decode canonical base64 with padding; throw for any other text. */
export function decodeBase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (encodeBase64(bytes) !== text) throw new Error("not canonical base64");
  return bytes;
}

/** Fingerprint: 120 bits of SHA-256 as 24 characters of a-z and 2-7. */
export function fingerprint(bytes) {
  const digest = sha256(bytes).subarray(0, FINGERPRINT_BYTES);
  let text = "", bits = 0, held = 0;
  for (const one of digest) {
    held = (held << 8) | one;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(held >> (bits - 5)) & 31];
    held &= 255;
  }
  return text;
}

export const ownerId = (recipient) => fingerprint(encodeText(recipient));

/** The 32 bytes of a device's public key, `ed25519:` and base64. */
export function parseDeviceKey(text) {
  if (!/^ed25519:[A-Za-z0-9+/]{43}=$/.test(text)) throw new Error("not a public key of a device");
  return decodeBase64(text.slice(8));
}

export const sameBytes = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
