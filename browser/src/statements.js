// What the archive signs: receipts and heads of the access log; and the log's hash chain.
import { ed25519 } from "@noble/curves/ed25519.js";
import { decodeBase64, encodeText, hashText, parseDeviceKey } from "./bytes.js";
import { CLIP_ID, KEY_ID, PUBLIC_KEY, SHA256, SHORT_NAME, canonical, checkFields, integer, isMoment, orNull, text } from "./fields.js";

const ORIGIN = "0".repeat(64);
const isCount = integer(0, 2 ** 53 - 1);
const HEAD = { n: isCount, hash: text(SHA256) };
const isHead = (value) => Boolean(checkFields(value, HEAD));
const RECEIPT = {
  v: integer(1, 1), kind: text(/^(erase|export)$/), owner: text(SHORT_NAME), t: isMoment, request_sha256: text(SHA256),
  clips: (value) => Array.isArray(value) && value.every(text(CLIP_ID)), count: isCount, manifest_sha256: orNull(text(SHA256)),
  head: isHead, archive: text(PUBLIC_KEY),
};
const SIGNED_HEAD = { ...HEAD, kind: text(/^head$/), t: isMoment, archive: text(PUBLIC_KEY) };
const CONTENTS = {
  kind: text(/^contents$/), receipt_sha256: text(SHA256), archive: text(PUBLIC_KEY),
  files: (value) => value !== null && typeof value === "object" && Object.values(value).every(text(SHA256)),
};
const BODY = {
  n: integer(1, 2 ** 53 - 1), t: isMoment, owner: text(SHORT_NAME), other: orNull(text(SHORT_NAME)), op: text(/^[a-z-]{1,16}$/),
  outcome: text(/^(done|refused|crossed|not-hers|failed)$/), okey: orNull(text(KEY_ID)), count: isCount,
  request_sha256: orNull(text(SHA256)), salt: text(/^[0-9a-f]{32}$/),
};

/** A statement without a valid signature of the archive. */
export class BadStatement extends Error {}

/** An access log that differs from what was written; `n` is the first wrong row. */
export class BrokenChain extends Error {
  constructor(n) {
    super(`row ${n}`);
    this.n = n;
  }
}

function checkSigned(statement, signature, schema, archive) {
  try {
    checkFields(statement, schema);
    const isSigned = statement.archive === archive
      && ed25519.verify(decodeBase64(signature), encodeText(canonical(statement)), parseDeviceKey(archive), { zip215: false });
    if (isSigned) return statement;
  } catch {
    // One error for every other statement.
  }
  throw new BadStatement();
}

export const checkReceipt = (fields, archive) => checkSigned(fields.receipt, fields.signature, RECEIPT, archive);
export const checkHead = (fields, archive) => checkSigned(fields?.head, fields?.signature, SIGNED_HEAD, archive);

/** Check the signed list of an export's files; it belongs to the receipt. */
export function checkContents(fields, archive) {
  const contents = checkSigned(fields.contents, fields.contents_signature, CONTENTS, archive);
  if (contents.receipt_sha256 !== hashText(canonical(fields.receipt))) throw new BadStatement();
  return contents;
}

/** Recomputes the chain row by row. known: heads that it must contain. */
export class ChainCheck {
  constructor(known, start = { n: 0, hash: ORIGIN }) {
    this.known = new Map();
    for (const head of known) {
      if ((this.known.get(head.n) ?? head.hash) !== head.hash) throw new BrokenChain(head.n);
      this.known.set(head.n, head.hash);
    }
    this.head = start;
    if ((this.known.get(start.n) ?? start.hash) !== start.hash) throw new BrokenChain(start.n);
  }

  /** Add a row; return its body, or null for another owner's. */
  add(row) {
    const n = this.head.n + 1;
    let body = null, bodyHash;
    try {
      if (row.n !== n) throw new Error("a row is missing");
      if (row.body === undefined) bodyHash = row.body_sha256;
      else {
        body = checkFields(row.body, BODY);
        bodyHash = hashText(canonical(body));
        if (body.n !== n || (row.body_sha256 ?? bodyHash) !== bodyHash) throw new Error("the body differs");
      }
      if (!text(SHA256)(bodyHash)) throw new Error("a row has no hash");
    } catch {
      throw new BrokenChain(n);
    }
    const hash = hashText(`${n}:${this.head.hash}:${bodyHash}`);
    if (row.hash !== hash || (this.known.get(n) ?? hash) !== hash) throw new BrokenChain(n);
    this.head = { n, hash };
    return body;
  }

  /** Return the head after the last row; throw if a known head is missing. */
  finish() {
    for (const n of this.known.keys()) if (n > this.head.n) throw new BrokenChain(this.head.n + 1);
    return this.head;
  }
}
