// Who asked for the owner's clips: the access log in plain words, after its hash chain was checked.
import { ChainCheck, BrokenChain, checkHead } from "./statements.js";
import { Unreachable } from "./archive.js";
import { h } from "./dom.js";
import { hasText, showMoment, t } from "./texts.js";

const SHOWN = 100;

export async function logView(page) {
  const place = h("div", {});
  page.main.replaceChildren(h("h2", { tabindex: "-1" }, t("nav.log")), h("p", {}, t("log.intro")), place);
  await page.run(async () => {
    page.say(t("log.checking"));
    const { bodies, head } = await readLog(page);
    if (page.view !== "log" || page.owner === null) return;
    page.say("");
    place.replaceChildren(h("p", { "data-verified": head.n }, t("log.verified", { n: head.n })), rowsOf(page, bodies.reverse()));
  });
}

/** Read and check the whole log; return the owner's rows and the head. */
async function readLog(page) {
  const archive = await page.archiveKey();
  const chain = new ChainCheck(page.owner.heads);
  const bodies = [];
  let after = 0, published;
  for (;;) {
    const request = after ? { after, op: "log" } : { op: "log" };
    const { fields } = await page.client.requestJson(request);
    if (!Array.isArray(fields.rows) || fields.rows.length > 1000) throw new Unreachable("the log is malformed");
    published = checkHead(fields.head, archive);
    for (const row of fields.rows) {
      const body = chain.add(row);
      if (body !== null) bodies.push(body);
    }
    if (fields.next === null || fields.next === undefined) break;
    if (!Number.isSafeInteger(fields.next) || fields.next <= after) throw new Unreachable("the log is malformed");
    after = fields.next;
  }
  const head = chain.finish();
  if (published.n !== head.n || published.hash !== head.hash) throw new BrokenChain(head.n);
  await page.noteHead(head);
  return { bodies, head };
}

function rowsOf(page, bodies) {
  const list = h("ol", { class: "log", reversed: true });
  const more = h("button", { type: "button", onclick: () => showMore() }, t("log.more"));
  let shown = 0;
  function showMore() {
    const next = bodies.slice(shown, shown + SHOWN);
    list.append(...next.map((body) => h("li", { value: body.n, "data-op": body.op, "data-outcome": body.outcome },
      h("time", { datetime: body.t }, showMoment(body.t)), " ", h("span", { class: isWorrying(body, page.owner.name) ? "bad" : "" }, describe(body, page.owner)))));
    shown += next.length;
    more.hidden = shown >= bodies.length;
  }
  showMore();
  return h("div", {}, list, more);
}

const isWorrying = (body, owner) => body.outcome === "refused" || body.outcome === "crossed" || body.outcome === "not-hers"
  || body.op === "incident" || body.op === "restored" || (body.okey === null && body.owner === owner && body.op === "key");

function describe(body, owner) {
  const isMore = body.op.startsWith("more-"), op = isMore ? body.op.slice(5) : body.op;
  const what = hasText(`log.op.${op}`) ? t(`log.op.${op}`, { n: body.count }) : op;
  if (body.outcome === "refused") return t("log.refused", { n: body.count || 1 });
  if (body.outcome === "crossed") return t(body.owner === owner.name ? "log.crossed.own" : "log.crossed.other", { n: body.count || 1, other: body.owner === owner.name ? body.other : body.owner });
  if (body.outcome === "not-hers") return body.other === null ? t("log.not-hers") : t("log.not-hers.other", { other: body.owner === owner.name ? body.other : body.owner });
  if (body.outcome === "failed") return t("log.failed", { what });
  if (["incident", "restored", "key", "deferred"].includes(op)) return what;
  const isOwn = owner.identities.some((one) => one.okey === body.okey);
  const who = body.okey === null ? t("log.by.archive") : isOwn ? t("log.by.you") : t("log.by.other-key", { key: body.okey });
  return t(isMore ? "log.many" : "log.done", { who, what: isMore ? t("log.requests", { n: body.count, what: t(`log.op.${op}`, { n: 0 }) }) : what });
}
