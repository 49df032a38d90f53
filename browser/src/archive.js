// Client of the archive's HTTP API (docs/reference/http-api.md), of the same origin as the page.
import { encodeText } from "./bytes.js";
import { HostileArchive, answerChallenge, requestText } from "./requests.js";

const JSON_LIMIT_BYTES = 8 << 20;
const SMALL_LIMIT_BYTES = 64 << 10;
const ENVELOPE_LIMIT_BYTES = 1050853;
const REQUEST_MS = 60_000;
const WORK_MS = 1_800_000;

/** An answer of the archive that is an error. */
export class Refused extends Error {
  constructor(status, word, message, clips = []) {
    super(message);
    this.status = status;
    this.word = word;
    this.clips = clips;
  }
}

/** No answer, or one that no archive gives. */
export class Unreachable extends Error {}

export class ArchiveClient {
  /** session: header value of the local server, or null; onAnswer(isReachable) follows each request. */
  constructor(session, onAnswer = () => {}) {
    this.session = session;
    this.onAnswer = onAnswer;
    this.owner = null;
    this.identities = [];
  }

  identify(owner, identities) {
    this.owner = owner;
    this.identities = identities;
  }

  /** Request JSON; return {fields, bytes}, the bytes as the archive signed them. */
  async requestJson(request) {
    const bytes = await this.#prove(request, "application/json", JSON_LIMIT_BYTES);
    return { fields: parseObject(bytes), bytes };
  }

  /** Request one sealed clip. */
  requestEnvelope(clip) {
    return this.#prove({ clip, op: "play" }, "application/vnd.earmark.envelope", ENVELOPE_LIMIT_BYTES);
  }

  /** Request an export; return the ZIP as a Blob, which a browser holds on its disk if it is large. */
  async requestExport(request, onProgress) {
    const response = await this.#proveOnce(request, "application/zip");
    const pieces = [];
    let size = 0;
    const reader = response.body.getReader();
    try {
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        size += piece.value.length;
        pieces.push(piece.value);
        // Blobs of a few MiB leave the page's memory for the browser's.
        if (pieces.length > 64) pieces.splice(0, pieces.length, new Blob(pieces));
        onProgress(size);
      }
    } catch {
      throw new Unreachable("the export ended early");
    }
    return new Blob(pieces, { type: "application/zip" });
  }

  /** Read what the archive says of itself without a proof. */
  async about() {
    return parseObject(await readBody(await this.fetch("/v1/archive"), "application/json", SMALL_LIMIT_BYTES));
  }

  /** POST JSON to the page's own server; return the fields of its answer. */
  async post(path, body) {
    const response = await this.fetch(path, body, "application/json");
    return parseObject(await readBody(response, "application/json", SMALL_LIMIT_BYTES));
  }

  async fetch(path, body, type, limitMs = REQUEST_MS) {
    const headers = { accept: "*/*" };
    if (type) headers["content-type"] = type;
    if (this.session) headers["earmark-session"] = this.session;
    try {
      return await fetch(path, {
        method: body === undefined ? "GET" : "POST",
        body, headers, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
        signal: AbortSignal.timeout(limitMs),
      });
    } catch (error) {
      this.onAnswer(false);
      throw new Unreachable(error.message);
    }
  }

  async #prove(request, kind, limit) {
    for (let attempt = 0; ; attempt++) {
      try {
        const bytes = await readBody(await this.#proveOnce(request), kind, limit);
        this.onAnswer(true);
        return bytes;
      } catch (error) {
        // A ticket that expired, as while the computer slept: the request was not carried out.
        if (error instanceof Refused && error.word === "ticket" && attempt === 0) continue;
        this.onAnswer(!(error instanceof Unreachable));
        throw error;
      }
    }
  }

  async #proveOnce(request, kind) {
    const body = `{"owner":${JSON.stringify(this.owner)},"request":${requestText(request)}}`;
    const made = parseObject(await readBody(await this.fetch("/v1/tickets", body, "application/json"), "application/json", SMALL_LIMIT_BYTES));
    if (typeof made.ticket !== "string" || !/^[A-Za-z0-9_-]{1,15000}$/.test(made.ticket)) throw new HostileArchive();
    const line = await answerChallenge(made.challenge, this.owner, request, this.identities);
    const response = await this.fetch(`/v1/tickets/${made.ticket}`, encodeText(line), "text/plain",
      ["erase", "export"].includes(request.op) ? WORK_MS : REQUEST_MS);
    if (kind) await expectKind(response, kind);
    return response;
  }
}

async function expectKind(response, kind) {
  const found = (response.headers.get("content-type") ?? "").split(";")[0].trim();
  if (response.ok && found === kind) return;
  if (response.ok || found !== "application/json") throw new Unreachable(`not an archive (HTTP ${response.status})`);
  const { error, message, clips } = parseObject(await readPieces(response, SMALL_LIMIT_BYTES));
  if (typeof error !== "string" || !/^[a-z-]{1,32}$/.test(error)) throw new Unreachable("not an archive");
  if (error === "archive") throw new Unreachable(String(message));
  throw new Refused(response.status, error, String(message ?? "").slice(0, 300), Array.isArray(clips) ? clips.map(String) : []);
}

async function readBody(response, kind, limit) {
  await expectKind(response, kind);
  return readPieces(response, limit);
}

async function readPieces(response, limit) {
  const pieces = [];
  let size = 0;
  try {
    const reader = response.body.getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      size += piece.value.length;
      if (size > limit) {
        await reader.cancel();
        throw new Error("too long");
      }
      pieces.push(piece.value);
    }
  } catch (error) {
    throw new Unreachable(error.message);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function parseObject(bytes) {
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  } catch {
    // One error for any other bytes.
  }
  throw new Unreachable("the answer is malformed");
}
