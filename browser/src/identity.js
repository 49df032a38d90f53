// The owner's secret keys: taken from a card, held as keys that this page can use and not read, never sent.
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient, webauthn } from "age-encryption";
import { x25519 } from "@noble/curves/ed25519.js";
import { bech32 } from "@scure/base";
import { ownerId } from "./bytes.js";

const SCRYPT_WORK_FACTOR = 17;
// RFC 8410: the bytes before a private X25519 key in PKCS #8.
const PKCS8_HEAD = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20];

/** One secret key. `key` is a CryptoKey that cannot be exported, or the text where the browser has none for X25519. */
class Identity {
  constructor(key, recipient) {
    this.key = key;
    this.recipient = recipient;
    this.okey = ownerId(recipient);
  }

  /** Decrypt an age file; throw if it is sealed to another key or damaged. */
  decrypt(ciphertext) {
    const decrypter = new Decrypter();
    decrypter.addIdentity(this.key);
    return decrypter.decrypt(ciphertext);
  }

  /** The 32 bytes of the public key. */
  get publicBytes() {
    return bech32.decodeToBytes(this.recipient).bytes;
  }

  /** Agree on a secret with another X25519 key (RFC 7748); throw for a point of low order. */
  async agree(theirs) {
    if (typeof this.key === "string") return x25519.getSharedSecret(bech32.decodeToBytes(this.key).bytes, theirs);
    const other = await crypto.subtle.importKey("raw", theirs, { name: "X25519" }, false, []);
    return new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: other }, this.key, 256));
  }
}

/** Make an identity of `AGE-SECRET-KEY-1…`; throw if the text is not a key. */
export async function importIdentity(secret) {
  const recipient = await identityToRecipient(secret);
  const { bytes } = bech32.decodeToBytes(secret);
  const pkcs8 = new Uint8Array([...PKCS8_HEAD, ...bytes]);
  let key = secret;
  try {
    key = await crypto.subtle.importKey("pkcs8", pkcs8, { name: "X25519" }, false, ["deriveBits"]);
  } catch {
    // A browser without X25519: the text stays in this page's memory, and cannot be kept.
  }
  bytes.fill(0);
  pkcs8.fill(0);
  return new Identity(key, recipient);
}

/** Whether the key can be kept without the page being able to read it. */
export const canBeKept = (identity) => typeof identity.key !== "string";

export const storedForm = (identity) => ({ key: identity.key, recipient: identity.recipient });
export const fromStored = ({ key, recipient }) => new Identity(key, recipient);

export async function generateSecret() {
  const secret = await generateX25519Identity();
  return { secret, recipient: await identityToRecipient(secret) };
}

/** Encrypt a card with a passphrase: the file that `age -p` makes. */
export function lockWithPassphrase(card, passphrase) {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  encrypter.setScryptWorkFactor(SCRYPT_WORK_FACTOR);
  return encrypter.encrypt(card);
}

/** Decrypt a card that was encrypted with a passphrase; throw if the passphrase is wrong. */
export function unlockWithPassphrase(file, passphrase) {
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  return decrypter.decrypt(file, "text");
}

/** Whether this origin can have passkeys: not an address of digits. */
export const hasPasskeys = () =>
  Boolean(globalThis.PublicKeyCredential) && isSecureContext && !/^[\d.]+$|^\[/.test(location.hostname);

/** Encrypt a card to a new passkey (WebAuthn PRF). */
export async function lockWithPasskey(card, name) {
  const passkey = await webauthn.createCredential({ keyName: name });
  const encrypter = new Encrypter();
  encrypter.addRecipient(new webauthn.WebAuthnRecipient({ identity: passkey }));
  return { passkey, locked: await encrypter.encrypt(card) };
}

export function unlockWithPasskey({ passkey, locked }) {
  const decrypter = new Decrypter();
  decrypter.addIdentity(new webauthn.WebAuthnIdentity({ identity: passkey }));
  return decrypter.decrypt(locked, "text");
}
