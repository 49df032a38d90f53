// The page: starts, takes the owner's key, and switches between its views.
import { ArchiveClient, Refused, Unreachable } from "./archive.js";
import { BadCard, parseCard } from "./card.js";
import { BadEnvelope, NotForYou } from "./envelope.js";
import { BadExport } from "./failures.js";
import { h } from "./dom.js";
import { HostileArchive, WrongKey } from "./requests.js";
import { BadStatement, BrokenChain, checkHead } from "./statements.js";
import { LANGUAGES, chooseLanguage, currentLanguage, hasText, loadMoreTexts, loadTexts, t } from "./texts.js";
import { forget, openKept, readKept } from "./owner.js";
import * as store from "./store.js";
import { clipsView } from "./view_clips.js";
import { keyView } from "./view_key.js";

const SESSION = "earmark-session";
const VIEWS = ["clips", "log", "storage", "voice", "trust"];

/** Everything that the views share. */
class Page {
  constructor() {
    this.start = null;
    this.client = null;
    this.owner = null;
    this.kept = undefined;
    this.view = "clips";
    /** Actions that are not finished yet. */
    this.running = 0;
    /** What a view holds while another one is shown; ended with the owner. */
    this.held = new Map();
    this.main = document.getElementById("main");
    this.status = document.getElementById("status");
    this.alert = document.getElementById("alert");
  }

  say(text) {
    this.status.textContent = text;
  }

  explain(error) {
    return explain(error);
  }

  warn(text) {
    this.alert.textContent = text;
    this.alert.hidden = !text;
  }

  /** Run an action of the owner; say why it failed. */
  async run(action, control) {
    this.warn("");
    if (control) control.disabled = true;
    this.running++;
    document.body.setAttribute("aria-busy", "true");
    try {
      return await action();
    } catch (error) {
      this.warn(explain(error));
      if (error instanceof Refused && error.word === "session") this.endSession();
      return undefined;
    } finally {
      if (--this.running === 0) document.body.removeAttribute("aria-busy");
      if (control) control.disabled = false;
    }
  }

  endSession() {
    sessionStorage.removeItem(SESSION);
  }

  async identify(owner) {
    this.owner = owner;
    this.client.identify(owner.name, owner.identities);
    const noted = await store.read("notes", `head ${owner.name}`);
    if (noted) owner.heads.push(noted);
    if (this.start.log_head) owner.heads.push(this.start.log_head);
    owner.consents = { ...(await store.read("notes", `consents ${owner.name}`)), ...this.start.consents };
    if (owner.archive === null) owner.archive = (await store.read("notes", `archive ${owner.name}`)) ?? null;
  }

  /** The archive's public key: from the card or the owner's computer; otherwise the first that answered here. */
  async archiveKey() {
    const owner = this.owner;
    if (owner.archive === null) {
      const { archive, head } = await this.client.about();
      checkHead(head, archive);
      owner.archive = archive;
      await store.write("notes", `archive ${owner.name}`, archive).catch(() => {});
    }
    return owner.archive;
  }

  /** Note a verified head of the access log, here and on the owner's own computer. */
  async noteHead(head) {
    this.owner.heads = [head];
    await store.write("notes", `head ${this.owner.name}`, head).catch(() => {});
    if (this.start.entry === "computer") await this.client.post("/page/log-head", JSON.stringify(head));
  }

  /** Keep a receipt as it was signed: on the owner's own computer, and in this browser. */
  async keepReceipt(bytes, receipt) {
    const path = this.start.entry === "computer" ? (await this.client.post("/page/receipt", bytes)).path : null;
    await store.write("receipts", `${receipt.t} ${receipt.request_sha256}`, bytes).catch(() => {});
    return path;
  }

  async leave() {
    for (const one of this.held.values()) one.end?.();
    this.held.clear();
    this.owner = null;
    this.client.identify(null, []);
    await forget();
    this.kept = undefined;
    this.show();
    this.say(t("key.forgotten"));
  }

  show(view = this.view, hasMoved = false) {
    this.view = view;
    this.warn("");
    this.say("");
    this.#drawHead();
    this.main.replaceChildren();
    if (this.owner === null) keyView(this);
    else if (view === "clips") clipsView(this);
    else this.#showFurther(view, hasMoved);
    if (hasMoved) this.main.querySelector("h2")?.focus();
  }

  /** Load the code and the texts of the further views. */
  async loadMore() {
    const [more] = await Promise.all([import("./more.js"), loadMoreTexts()]);
    return more;
  }

  #showFurther(view, hasMoved) {
    this.run(async () => {
      const more = await this.loadMore();
      if (this.view !== view || this.owner === null) return;
      more[`${view}View`](this);
      if (hasMoved) this.main.querySelector("h2").focus();
    });
  }

  #drawHead() {
    document.title = t("title");
    document.getElementById("title").textContent = t("title");
    const trust = document.getElementById("trust");
    trust.textContent = t(`entry.${this.start.entry}`);
    const nav = document.getElementById("nav");
    nav.setAttribute("aria-label", t("nav"));
    nav.hidden = this.owner === null;
    nav.replaceChildren(...VIEWS.map((name) => h("button", {
      type: "button", "data-view": name, "aria-current": name === this.view ? "page" : undefined, onclick: () => this.show(name, true),
    }, t(`nav.${name}`))));
    const language = document.getElementById("language");
    language.setAttribute("aria-label", t("language"));
    language.replaceChildren(...LANGUAGES.map((code) => h("option", { value: code, lang: code, selected: code === currentLanguage() }, t(`language.${code}`))));
  }
}

/** Say in the owner's language why something failed. */
export function explain(error) {
  if (error instanceof BadEnvelope) return t(`bad.${error.reason}`, { detail: error.message });
  if (error instanceof NotForYou) return t("bad.key");
  if (error instanceof WrongKey) return t("wrong-key");
  if (error instanceof HostileArchive) return t("hostile");
  if (error instanceof BadCard) return t(error.reason);
  if (error instanceof BrokenChain) return t("log.broken", { row: error.n });
  if (error instanceof BadStatement) return t("receipt.bad");
  if (error instanceof BadExport) return t("export.bad", { detail: error.message });
  if (error instanceof Unreachable) return t("unreachable");
  if (error instanceof Refused) return hasText(`refused.${error.word}`) ? t(`refused.${error.word}`) : t("refused", { detail: error.message });
  return t("failed", { detail: String(error?.message ?? error) });
}

async function openSession() {
  const match = /^#token=([A-Za-z0-9_-]{43})$/.exec(location.hash);
  if (location.hash) history.replaceState(null, "", location.pathname);
  if (match) {
    const { session } = await new ArchiveClient(null).post("/page/session", JSON.stringify({ token: match[1] }));
    sessionStorage.setItem(SESSION, session);
  }
  return sessionStorage.getItem(SESSION);
}

/** Read the start document; the entry of the archive needs no session. */
async function readStart(client) {
  const response = await client.fetch("/page/start.json");
  const start = await response.json();
  if (response.status === 401) throw new Refused(401, "session", "");
  if (start?.v !== 1 || !["computer", "archive"].includes(start.entry)) throw new Refused(0, "version", "");
  // An archive that serves the page says nothing about keys that counts.
  return start.entry === "computer" ? start : { ...start, owner: null, archive: null, log_head: null, speakers: [], consents: {} };
}

async function begin() {
  const page = new Page();
  const preferred = await store.read("notes", "language");
  await loadTexts(chooseLanguage([preferred, ...navigator.languages].filter(Boolean)));
  try {
    if (!isSecureContext) throw new Refused(0, "insecure", "");
    page.client = new ArchiveClient(await openSession(), (isReachable) => { document.body.dataset.archive = isReachable ? "answers" : "away"; });
    page.start = await readStart(page.client);
    if (page.start.language && !preferred) await loadTexts(chooseLanguage([page.start.language]));
    page.kept = await readKept();
    const isOther = page.kept && page.start.owner && page.kept.name !== page.start.owner;
    if (isOther) page.kept = undefined;
    if (page.kept && !page.kept.locked) await page.identify(await openKept(page.kept, page.start, parseCard));
  } catch (error) {
    document.getElementById("title").textContent = t("title");
    document.title = t("title");
    page.main.replaceChildren(h("h2", { tabindex: "-1" }, t("start.failed")));
    page.warn(explain(error));
    document.body.dataset.ready = "failed";
    return;
  }
  document.getElementById("language").addEventListener("change", async (event) => {
    await page.run(async () => {
      await loadTexts(event.target.value);
      await store.write("notes", "language", event.target.value).catch(() => {});
      page.show();
    });
  });
  page.show();
  document.body.dataset.ready = "yes";
}

begin();
