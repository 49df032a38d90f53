// Check of an export (a ZIP of the archive) against its receipt, its manifest, every signature and the access log.
// Nothing of it is unpacked; the form is that of listener/clips/zip_reader.py: stored entries, one after another.
import { sha256 } from "@noble/hashes/sha2.js";
import { decodeText, encodeHex, hashHex } from "./bytes.js";
import { BadExport } from "./failures.js";
import { parseEnvelope, verifyEnvelope } from "./envelope.js";
import { ChainCheck, checkContents, checkReceipt } from "./statements.js";

const LOCAL_BYTES = 30, CENTRAL_BYTES = 46;
const MOST_ENTRIES = 1_000_000;
const SMALL_BYTES = 4 << 20;
const PIECE_BYTES = 4 << 20;
const CLIP_NAME = /^clips\/([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\.earmark$/;
const PAGE = "READ-ME-FIRST.html";
const REQUIRED = [PAGE, "manifest.jsonl", "devices.json", "access-log.jsonl", "receipt.json"];
const OPTIONAL = ["retired-devices.json", "left-out.jsonl"];
/** The pages that versions of Earmark wrote: listener/rights/export_page.py. */
export const KNOWN_PAGES = [
  "e8ef6d4f00099a799cf5a13359eddcac3d2a5651c3534ed3a9dd45e32449d663",
  "8c708ad6f87aa4b9c95cc868de00252c9415234ab647fbe604abfb06f9c6ffb8",
  "8e4403ab58c2018bf33f2a5dcbd4c9c74eaad7d9eeb71f3b642d119d0c658bcc",
  "8a3f68eb6a88333f3af544ca5cf10795548a5fe97c8c2fafa693611453da9f63",
];

const fail = (why) => { throw new BadExport(why); };
const bytesOf = async (blob) => new Uint8Array(await blob.arrayBuffer());

/** Reads a file in large pieces. */
class Reader {
  constructor(blob) { this.blob = blob; this.from = 0; this.held = new Uint8Array(); }
  async take(at, size) {
    if (at + size > this.blob.size) fail("the file is incomplete");
    if (at < this.from || at + size > this.from + this.held.length) {
      this.from = at;
      this.held = await bytesOf(this.blob.slice(at, at + Math.max(size, PIECE_BYTES)));
    }
    return this.held.subarray(at - this.from, at - this.from + size);
  }
}

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Return the entries by name: {start, size}. */
async function readEntries(blob) {
  const reader = new Reader(blob), entries = new Map(), heads = [];
  let at = 0;
  for (;;) {
    if (viewOf(await reader.take(at, 4)).getUint32(0, true) !== 0x04034b50) break;
    const view = viewOf(await reader.take(at, LOCAL_BYTES));
    const size = view.getUint32(22, true), nameBytes = view.getUint16(26, true);
    if (view.getUint16(8, true) !== 0 || view.getUint32(18, true) !== size) fail("an entry is compressed");
    if (view.getUint16(6, true) & ~0x800 || view.getUint16(28, true) || size === 0xffffffff || nameBytes > 100) fail("an entry has other flags or fields");
    const fields = encodeHex(await reader.take(at + 4, 24));
    const name = String.fromCharCode(...await reader.take(at + LOCAL_BYTES, nameBytes));
    if (entries.has(name) || entries.size === MOST_ENTRIES) fail("an entry is there twice, or there are too many");
    entries.set(name, { start: at + LOCAL_BYTES + nameBytes, size });
    heads.push({ at, name, fields });
    at += LOCAL_BYTES + nameBytes + size;
  }
  const start = at;
  for (const head of heads) {
    const bytes = await reader.take(at, CENTRAL_BYTES), view = viewOf(bytes);
    const isFar = head.at >= 0xffffffff, extra = view.getUint16(30, true);
    const isSame = view.getUint32(0, true) === 0x02014b50 && encodeHex(bytes.subarray(6, 30)) === head.fields
      && extra === (isFar ? 12 : 0) && view.getUint32(42, true) === Math.min(head.at, 0xffffffff)
      && view.getUint16(32, true) + view.getUint16(34, true) + view.getUint16(36, true) === 0
      && [0, 0o100000].includes((view.getUint32(38, true) >>> 16) & 0o170000) && (view.getUint32(38, true) & 0xffff) === 0;
    const name = String.fromCharCode(...await reader.take(at + CENTRAL_BYTES, head.name.length));
    if (!isSame || name !== head.name) fail("the directory contradicts an entry");
    if (isFar) {
      const far = viewOf(await reader.take(at + CENTRAL_BYTES + name.length, 12));
      if (far.getUint32(0, true) !== 0x80001 || far.getBigUint64(4, true) !== BigInt(head.at)) fail("the directory contradicts an entry");
    }
    at += CENTRAL_BYTES + name.length + extra;
  }
  await checkEnd(reader, blob.size, entries.size, start, at);
  return entries;
}

async function checkEnd(reader, length, count, start, end) {
  const expected = new Uint8Array(98), view = viewOf(expected), size = end - start;
  view.setUint32(0, 0x06064b50, true);
  view.setBigUint64(4, 44n, true);
  view.setUint16(12, 45, true);
  view.setUint16(14, 45, true);
  view.setBigUint64(24, BigInt(count), true);
  view.setBigUint64(32, BigInt(count), true);
  view.setBigUint64(40, BigInt(size), true);
  view.setBigUint64(48, BigInt(start), true);
  view.setUint32(56, 0x07064b50, true);
  view.setBigUint64(64, BigInt(end), true);
  view.setUint32(72, 1, true);
  view.setUint32(76, 0x06054b50, true);
  view.setUint16(84, Math.min(count, 0xffff), true);
  view.setUint16(86, Math.min(count, 0xffff), true);
  view.setUint32(88, Math.min(size, 0xffffffff), true);
  view.setUint32(92, Math.min(start, 0xffffffff), true);
  if (length - end !== 98 || encodeHex(await reader.take(end, 98)) !== encodeHex(expected)) fail("the end of the directory is another one");
}

/**
 * Check an export.
 * devices, owners: as for verifyEnvelope; owner; archive: its public key; requestHash: SHA-256 of the request;
 * heads: heads that the access log must contain.
 * Return {count, leftOut, head}.
 */
export async function checkExport(blob, { archive, devices, heads, onProgress, owner, owners, requestHash }) {
  const entries = await readEntries(blob);
  const files = [...entries.keys()].filter((name) => !CLIP_NAME.test(name));
  if (REQUIRED.some((name) => !entries.has(name)) || files.some((name) => !REQUIRED.includes(name) && !OPTIONAL.includes(name))) {
    fail("entries are missing or unexpected");
  }
  const part = ({ start, size }) => blob.slice(start, start + size);
  const small = async (name) => (entries.get(name).size > SMALL_BYTES ? fail(`${name} is too long`) : bytesOf(part(entries.get(name))));
  const signed = JSON.parse(decodeText(await small("receipt.json")));
  const receipt = checkReceipt(signed, archive);
  if (receipt.kind !== "export" || receipt.owner !== owner || receipt.request_sha256 !== requestHash) fail("it is another export than the requested one");
  const contents = checkContents(signed, archive).files;
  if (Object.keys(contents).sort().join() !== files.filter((name) => name !== "receipt.json").sort().join()) fail("the archive signed other files");
  for (const [name, hash] of Object.entries(contents)) {
    if (await hashBlob(part(entries.get(name))) !== hash) fail(`${name} does not match its signed hash`);
  }
  if (!KNOWN_PAGES.includes(contents[PAGE])) fail(`${PAGE} is not a page that Earmark writes`);
  await checkLog(part(entries.get("access-log.jsonl")), [...heads, receipt.head]);
  const count = await checkClips({ blob, devices, entries, manifest: part(entries.get("manifest.jsonl")), onProgress, owners });
  if (contents["manifest.jsonl"] !== receipt.manifest_sha256 || count !== receipt.count) fail("the manifest does not match the receipt");
  let leftOut = 0;
  if (entries.has("left-out.jsonl")) for await (const line of linesOf(part(entries.get("left-out.jsonl")))) leftOut += line ? 1 : 0;
  return { count, leftOut, head: receipt.head };
}

async function checkLog(blob, heads) {
  const chain = new ChainCheck(heads);
  for await (const line of linesOf(blob)) chain.add(JSON.parse(line));
  chain.finish();
}

async function checkClips({ blob, devices, entries, manifest, onProgress, owners }) {
  const reader = new Reader(blob);
  const left = new Set([...entries.keys()].filter((name) => CLIP_NAME.test(name)));
  let count = 0;
  for await (const line of linesOf(manifest)) {
    const row = JSON.parse(line), name = `clips/${row.clip}.earmark`;
    if (!left.delete(name)) fail("a clip is missing, or twice in the manifest");
    const { start, size } = entries.get(name);
    const data = (await reader.take(start, size)).slice();
    if (size !== row.bytes || hashHex(data) !== row.sha256) fail("a clip does not match its hash in the manifest");
    const { header } = parseEnvelope(data);
    verifyEnvelope(data, devices, owners);
    const isSame = ["clip", "device", "seq", "t", "ttl_s", "okey"].every((field) => header[field] === row[field]);
    if (!isSame) fail("the header of a clip does not match the manifest");
    if (++count % 50 === 0) onProgress(count);
  }
  if (left.size) fail("a clip is not in the manifest");
  return count;
}

async function hashBlob(blob) {
  const digest = sha256.create();
  for (let at = 0; at < blob.size; at += PIECE_BYTES) digest.update(await bytesOf(blob.slice(at, at + PIECE_BYTES)));
  return encodeHex(digest.digest());
}

async function* linesOf(blob) {
  let rest = "";
  for (let at = 0; at < blob.size; at += PIECE_BYTES) {
    const text = rest + latin1(await bytesOf(blob.slice(at, at + PIECE_BYTES)));
    const lines = text.split("\n");
    rest = lines.pop();
    yield* lines;
  }
  if (rest) yield rest;
}

function latin1(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}
