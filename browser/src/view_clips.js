// The owner's clips: choose days, speaker and word; play; erase; say that a clip is of someone else.
import { BadEnvelope, NotForYou } from "./envelope.js";
import { ClipList } from "./clip_list.js";
import { OpenedClips } from "./opened.js";
import { Refused } from "./archive.js";
import { ask, field, h, saveFile } from "./dom.js";
import { BadStatement, checkReceipt } from "./statements.js";
import { dayStart, localDay, showDay, showMoment, showNumber, showTime, t } from "./texts.js";
import { parseList } from "./replies.js";
import { requestHash } from "./requests.js";
import { makeWav } from "./wav.js";

const DAYS = { week: 7, month: 30 };
const MOST_NAMED = 200;
const AT_ONCE = 3;

export function clipsView(page) {
  if (!page.held.has("clips")) page.held.set("clips", new Clips(page));
  page.held.get("clips").draw();
}

class Clips {
  constructor(page) {
    this.page = page;
    this.opened = new OpenedClips(page.client, page.owner);
    this.clips = [];
    this.period = "month";
    this.from = this.until = this.speaker = this.word = "";
    this.hidden = 0;
    this.search = null;
    this.loading = 0;
    this.isLoaded = false;
    this.player = null;
  }

  end() {
    this.loading++;
    this.search?.abort();
    this.player?.close();
    this.opened = null;
  }

  draw() {
    this.player?.close();
    const { page } = this;
    this.list = new ClipList(t("clips.list"), (item) => this.#describe(item), (item) => this.#choose(item));
    this.count = h("p", { class: "count", "data-count": "" });
    this.panel = h("section", { class: "panel", hidden: true, "aria-label": t("clip.panel") });
    const period = h("select", { "data-field": "period" }, ...["week", "month", "all", "days"].map((value) =>
      h("option", { value, selected: value === this.period }, t(`period.${value}`))));
    const from = h("input", { type: "date", value: this.from, "data-field": "from" });
    const until = h("input", { type: "date", value: this.until, "data-field": "until" });
    this.days = h("div", { class: "days", hidden: this.period !== "days" }, field(t("period.from"), from), field(t("period.until"), until));
    const speaker = h("select", { "data-field": "speaker" }, h("option", { value: "" }, t("clips.every-speaker")),
      ...page.owner.speakerNames.map((name) => h("option", { value: name, selected: name === this.speaker }, name)));
    this.wordField = h("input", { type: "search", value: this.word, autocomplete: "off", spellcheck: "false", "data-field": "word" });
    const reload = () => {
      [this.period, this.from, this.until, this.speaker] = [period.value, from.value, until.value, speaker.value];
      this.days.hidden = this.period !== "days";
      this.load();
    };
    for (const control of [period, from, until, speaker]) control.addEventListener("change", reload);
    const find = h("form", { class: "filters", role: "search", onsubmit: (event) => {
      event.preventDefault();
      this.find();
    } }, field(t("period"), period), this.days, field(t("clips.speaker"), speaker), field(t("clips.word"), this.wordField, t("clips.word.note")),
    this.findButton = h("button", { type: "submit", "data-do": "find" }, t("clips.find")));
    page.main.replaceChildren(h("h2", { tabindex: "-1" }, t("nav.clips")), find,
      h("div", { class: "buttons" }, this.count,
        h("button", { type: "button", "data-do": "reload", onclick: () => this.load() }, t("clips.reload")),
        this.eraseButton = h("button", { type: "button", class: "danger", "data-do": "erase-listed", onclick: (event) => this.#eraseListed(event.target) }, t("erase.listed"))),
      h("div", { class: "pair" }, this.list.element, this.panel));
    if (this.isLoaded) this.show();
    else this.load();
  }

  /** The fields of a request for what is chosen. */
  selection() {
    const fields = {};
    if (this.speaker) fields.device = this.speaker;
    if (this.period in DAYS) fields.from = dayStart(localDay(Date.now()), 1 - DAYS[this.period]);
    if (this.period === "days" && this.from) fields.from = dayStart(this.from);
    if (this.period === "days" && this.until) fields.until = dayStart(this.until, 1);
    return fields;
  }

  async load() {
    const turn = ++this.loading, { page } = this;
    this.search?.abort();
    await page.run(async () => {
      const clips = [], request = { ...this.selection(), op: "list" };
      let after = "";
      for (;;) {
        page.say(t("clips.loading", { n: clips.length }));
        const reply = parseList((await page.client.requestJson(after ? { ...request, after } : request)).fields);
        if (turn !== this.loading) return;
        clips.push(...reply.clips);
        this.hidden = reply.quarantined;
        if (reply.next === null) break;
        if (reply.next <= after) throw new Refused(200, "again", "");
        after = reply.next;
      }
      this.clips = clips.reverse();
      this.isLoaded = true;
      page.say("");
      this.show();
      if (this.word) await this.find();
    });
  }

  show() {
    const word = this.word.toLowerCase();
    this.listed = word ? this.clips.filter((one) => this.opened.found.get(one.clip)?.inner?.word.includes(word)) : this.clips;
    const items = [];
    let day = "";
    for (const clip of this.listed) {
      const own = localDay(clip.t);
      if (own !== day) items.push({ heading: showDay(clip.t) });
      day = own;
      items.push({ id: clip.clip, clip });
    }
    this.list.show(items);
    const hidden = this.hidden ? ` ${t("clips.quarantined", { n: this.hidden })}` : "";
    this.count.textContent = t(word ? "clips.found" : "clips.count", { n: this.listed.length }) + hidden;
    this.eraseButton.hidden = this.listed.length === 0;
  }

  /** Open the listed clips one after another, to find those of a word. */
  async find() {
    const { page } = this;
    this.search?.abort();
    const search = this.search = new AbortController();
    this.word = this.wordField.value.trim();
    this.show();
    if (!this.word) return;
    await page.run(async () => {
      const left = this.clips.filter((one) => !this.opened.found.has(one.clip));
      let done = 0;
      const work = async () => {
        for (let clip = left.shift(); clip && !search.signal.aborted; clip = left.shift()) {
          try {
            await this.opened.open(clip);
          } catch (error) {
            // A clip that does not open has no word; an archive that is away ends the search.
            const isOfClip = error instanceof BadEnvelope || error instanceof NotForYou || (error instanceof Refused && error.word === "clip");
            if (!isOfClip) throw error;
          }
          if (++done % 10 === 0) {
            page.say(t("clips.searching", { n: done, of: done + left.length }));
            this.show();
          }
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      if (search.signal.aborted) return;
      this.show();
      page.say(t("clips.searched", { n: this.listed.length }));
    });
  }

  #describe({ clip }) {
    const found = this.opened.found.get(clip.clip);
    const word = found?.inner ? t("clip.word", { word: found.inner.word, seconds: showNumber(found.inner.ms / 1000, 1) }) : "";
    return [h("span", { class: "time" }, showTime(clip.t)), h("span", { class: "where" }, clip.device),
      h("span", { class: found?.error ? "what bad" : "what" }, found?.error ? t("clip.refused") : word)];
  }

  async #choose({ clip }) {
    const { page } = this;
    this.player?.close();
    this.panel.hidden = false;
    this.panel.replaceChildren(h("h3", {}, t("clip.title", { when: showMoment(clip.t), speaker: clip.device })));
    const actions = h("div", { class: "buttons" });
    const erase = (isOther) => (event) => this.#eraseOne(clip, isOther, event.target);
    await page.run(async () => {
      try {
        const { inner, flac, sound } = await this.opened.open(clip);
        this.player = new Player(makeWav(sound, inner.rate), (error) => page.warn(error));
        this.panel.append(this.player.audio, await this.#why(clip, inner));
        actions.append(h("button", { type: "button", "data-do": "save", onclick: () => saveFile(`${clip.clip}.flac`, flac, "audio/flac") }, t("clip.save")),
          h("button", { type: "button", "data-do": "not-mine", onclick: erase(true) }, t("clip.not-mine")));
        this.player.play();
      } catch (error) {
        this.panel.append(h("p", { class: "bad", "data-refused": "" }, page.explain(error)));
      }
      this.list.update(clip.clip);
    });
    actions.append(h("button", { type: "button", class: "danger", "data-do": "erase", onclick: erase(false) }, t("erase.one")),
      h("button", { type: "button", "data-do": "close", onclick: () => this.#close() }, t("close")));
    this.panel.append(actions);
    this.panel.scrollIntoView({ block: "nearest" });
  }

  #close() {
    this.player?.close();
    this.player = null;
    this.panel.hidden = true;
    this.list.element.focus();
  }

  async #why(clip, inner) {
    const models = await loadModels();
    // No clip has the threshold that applied. A score below the preset shows that another one did.
    const preset = models[inner.model]?.threshold;
    const mayApply = preset !== undefined && inner.score >= preset;
    const rows = [
      ["why.word", inner.word],
      ["why.score", showNumber(inner.score, 2)],
      ["why.threshold", mayApply ? t("why.threshold.preset", { preset: showNumber(preset, 2) }) : t("why.threshold.unknown")],
      ["why.voice", inner.spk === null ? t("why.voice.none") : showNumber(inner.spk, 2)],
      ["why.length", t("why.length.parts", { seconds: showNumber(inner.ms / 1000, 1), before: showNumber(inner.pre_ms / 1000, 1) })],
      ["why.end", t(["silence", "no-speech", "cap", "end"].includes(inner.end_reason) ? `why.end.${inner.end_reason}` : "why.end.other")],
      ["why.number", t("why.number.value", { number: clip.seq })],
      ["why.expires", showMoment(clip.expires * 1000)],
    ];
    return h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, t(name)), h("dd", {}, value)]));
  }

  async #eraseOne(clip, isOther, control) {
    const details = [t(isOther ? "not-mine.details" : "erase.details")];
    const question = t(isOther ? "not-mine.question" : "erase.question", { when: showMoment(clip.t), speaker: clip.device });
    if (!await ask(question, details, t("erase.yes"), t("erase.no"))) return;
    await this.page.run(async () => {
      const request = { clips: [clip.clip], op: "erase" };
      if (isOther) request.not_mine = true;
      await this.#erase([request]);
      this.#close();
    }, control);
  }

  async #eraseListed(control) {
    const fields = this.selection();
    const isRange = fields.from !== undefined || fields.until !== undefined;
    const question = t(this.word || isRange || fields.device ? "erase.listed.question" : "erase.all.question", { n: this.listed.length });
    if (!await ask(question, [t("erase.details")], t("erase.yes"), t("erase.no"))) return;
    await this.page.run(async () => {
      const requests = [];
      if (this.word) {
        const ids = this.listed.map((one) => one.clip);
        while (ids.length) requests.push({ clips: ids.splice(0, MOST_NAMED), op: "erase" });
      } else requests.push(isRange ? { ...fields, op: "erase" } : { ...fields, all: true, op: "erase" });
      await this.#erase(requests);
    }, control);
  }

  /** Carry out requests to erase; check and keep each receipt; then show what is left. */
  async #erase(requests) {
    const { page } = this;
    const archive = await page.archiveKey();
    let count = 0, path = null, last;
    for (const request of requests) {
      const { bytes, fields } = await this.#requestErasure(request);
      const receipt = checkReceipt(fields, archive);
      const isMine = receipt.kind === "erase" && receipt.owner === page.owner.name && receipt.request_sha256 === requestHash(request);
      if (!isMine) throw new BadStatement();
      for (const clip of receipt.clips) this.opened.drop(clip);
      const gone = new Set(receipt.clips);
      this.clips = this.clips.filter((one) => !gone.has(one.clip));
      count += receipt.count;
      last = bytes;
      path = await page.keepReceipt(bytes, receipt);
    }
    this.show();
    page.say("");
    page.status.replaceChildren(h("span", { "data-erased": count }, t("erase.done", { n: count })), " ",
      path ? t("receipt.path", { path }) : t("receipt.kept"), " ",
      h("button", { type: "button", "data-do": "receipt", onclick: () => saveFile("earmark-receipt.json", last, "application/json") }, t("receipt.save")));
  }

  async #requestErasure(request) {
    try {
      return await this.page.client.requestJson(request);
    } catch (error) {
      if (!request.not_mine || !(error instanceof Refused) || error.word !== "request") throw error;
      // An archive before this field: it erases, and counts nothing.
      delete request.not_mine;
      return this.page.client.requestJson(request);
    }
  }
}

/** Plays one opened clip. The decrypted sound is held by one blob, which ends with the player. */
class Player {
  constructor(wav, onError) {
    this.url = URL.createObjectURL(new Blob([wav], { type: "audio/wav" }));
    this.audio = h("audio", { controls: true, src: this.url, "aria-label": t("clip.sound") });
    this.audio.addEventListener("error", () => { if (this.url) onError(t("clip.cannot-play")); });
    this.audio.addEventListener("ended", () => { this.audio.dataset.played = String(this.audio.currentTime); });
  }

  play() {
    // A browser may wait for a click of its own on the controls.
    this.audio.play().catch(() => {});
  }

  close() {
    const { url } = this;
    this.url = null;
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.audio.remove();
    if (url) URL.revokeObjectURL(url);
  }
}

let models = null;
/** Thresholds of the models of this version, by SHA-256. */
async function loadModels() {
  if (models === null) {
    try {
      models = await (await fetch("/page/models.json", { credentials: "omit" })).json();
    } catch {
      return {};
    }
  }
  return models;
}
