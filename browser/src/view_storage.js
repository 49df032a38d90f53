// How long clips are stored, and a copy of all of them.
import { ask, field, h, saveFile } from "./dom.js";
import { checkExport } from "./exports.js";
import { parseRetention } from "./replies.js";
import { readAll } from "./store.js";
import { requestHash } from "./requests.js";
import { localDay, showNumber, t } from "./texts.js";

export function storageView(page) {
  page.main.replaceChildren(h("h2", { tabindex: "-1" }, t("nav.storage")), retentionSection(page), exportSection(page), receiptsSection(page));
}

function retentionSection(page) {
  const state = h("p", { "data-retention": "" });
  const days = h("input", { type: "number", min: "1", max: "3650", step: "1", required: true, inputmode: "numeric", "data-field": "days" });
  const show = (found) => { state.textContent = found === null ? t("retention.none") : t("retention.days", { n: found }); };
  const set = h("button", { type: "submit", "data-do": "retention" }, t("retention.set"));
  page.run(async () => show(parseRetention((await page.client.requestJson({ op: "retention" })).fields)));
  return h("section", {}, h("h3", {}, t("retention.title")), state, h("form", { onsubmit: async (event) => {
    event.preventDefault();
    const chosen = days.valueAsNumber;
    if (!await ask(t("retention.question", { n: chosen }), [t("retention.details")], t("retention.yes"), t("erase.no"))) return;
    await page.run(async () => {
      show(parseRetention((await page.client.requestJson({ days: chosen, op: "retention" })).fields));
      page.held.delete("clips");
      page.say(t("retention.done"));
    }, set);
  } }, field(t("retention.field"), days, t("retention.note")), set));
}

function exportSection(page) {
  const button = h("button", { type: "button", "data-do": "export", onclick: () => page.run(async () => {
    const { owner } = page, request = { op: "export" };
    const archive = await page.archiveKey();
    const blob = await page.client.requestExport(request, (size) => page.say(t("export.loading", { size: showNumber(size / 1e6, 1) })));
    page.say(t("export.checking", { n: 0 }));
    const found = await checkExport(blob, {
      archive, devices: owner.devices, heads: owner.heads, onProgress: (n) => page.say(t("export.checking", { n })),
      owner: owner.name, owners: owner.owners, requestHash: requestHash(request),
    });
    await page.noteHead(found.head);
    const file = `${owner.name}-clips-${localDay(Date.now())}.zip`;
    saveFile(file, blob, "application/zip");
    page.say("");
    page.status.append(h("span", { "data-exported": found.count, "data-file": file }, t("export.done", { n: found.count })),
      found.leftOut ? ` ${t("export.left-out", { n: found.leftOut })}` : "");
  }, button) }, t("export.button"));
  return h("section", {}, h("h3", {}, t("export.title")), h("p", {}, t("export.intro")), button);
}

function receiptsSection(page) {
  const list = h("ul", {});
  page.run(async () => {
    const found = await readAll("receipts").catch(() => []);
    for (const bytes of found.reverse()) {
      const { receipt } = JSON.parse(new TextDecoder().decode(bytes));
      if (receipt.owner !== page.owner?.name) continue;
      list.append(h("li", {}, t("receipts.row", { when: receipt.t.slice(0, 16).replace("T", " "), n: receipt.count }), " ",
        h("button", { type: "button", onclick: () => saveFile("earmark-receipt.json", bytes, "application/json") }, t("receipt.save"))));
    }
    if (!list.children.length) list.replaceWith(h("p", {}, t("receipts.none")));
  });
  return h("section", {}, h("h3", {}, t("receipts.title")), h("p", {}, t("receipts.intro")), list);
}
