// Drives a browser by lines of JSON: one command a line on standard input, one answer a line on standard output.
// node driver.mjs PACKAGES, where PACKAGES is the folder of node_modules.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { pathToFileURL } from "node:url";

const packages = process.argv[2];
const load = (file) => import(pathToFileURL(path.join(packages, file)).href);
const { default: puppeteer } = await load("puppeteer-core/lib/esm/puppeteer/puppeteer-core.js");
const axe = fs.readFileSync(path.join(packages, "axe-core/axe.min.js"), "utf8");

let browser, page, cdp;
let seen = [], errors = [];

async function watch(opened) {
  page = opened;
  cdp = null;
  page.on("request", (request) => seen.push({ url: request.url(), method: request.method(), body: bodyOf(request) }));
  page.on("console", (message) => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(String(error?.message ?? error)));
}

// Not over WebDriver BiDi; what leaves the browser is recorded by the relay before the server, too.
function bodyOf(request) {
  try {
    return request.postData() ?? "";
  } catch {
    return "";
  }
}

const client = async () => (cdp ??= await page.createCDPSession());

const commands = {
  async launch({ options }) {
    browser = await puppeteer.launch(options);
    await watch(await browser.newPage());
    return { version: await browser.version() };
  },
  async goto({ url }) {
    await page.goto(url, { waitUntil: "load" });
  },
  async reload() {
    await page.reload({ waitUntil: "load" });
  },
  async tab() {
    await page.close();
    await watch(await browser.newPage());
  },
  async evaluate({ code }) {
    return (await page.evaluate(code)) ?? null;
  },
  async wait({ code, timeout }) {
    await page.waitForFunction(code, { timeout, polling: 50 });
  },
  async click({ selector }) {
    await page.click(selector);
  },
  async type({ selector, text }) {
    await page.focus(selector);
    await page.keyboard.type(text);
  },
  async press({ key }) {
    await page.keyboard.press(key);
  },
  async select({ selector, value }) {
    await page.select(selector, value);
  },
  async upload({ selector, file }) {
    const input = await page.$(selector);
    await input.uploadFile(file);
  },
  async viewport({ width, height, scheme }) {
    await page.setViewport({ width, height });
    if (scheme) await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  },
  async screenshot({ file }) {
    await page.screenshot({ path: file });
  },
  async axe() {
    // By the debugger's protocol, to which the page's own policy does not apply.
    await page.evaluate(axe);
    const found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
    return found.violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) }));
  },
  async send({ method, params }) {
    return (await (await client()).send(method, params)) ?? null;
  },
  async seen() {
    return seen;
  },
  async errors() {
    return errors;
  },
  async close() {
    await browser.close();
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { name, ...values } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await commands[name](values)) ?? null };
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
  if (name === "close") break;
}
process.exit(0);
