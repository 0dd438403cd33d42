// The real binary with real traffic through it, a browser, and what every test asks of a page.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { PARTS } from "./pages.mjs";
import { standIn } from "./stand_in.mjs";

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const BINARY = process.env.SEMBLANCE_BINARY ?? join(ROOT, "target", "debug", "semblance");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const TOKEN = "a-token-for-operators";

/** The gateway, on ports of its own. `bare`: its built-in policies, no record of traffic, and a token. */
export async function gateway({ bare = false } = {}) {
  const home = await mkdtemp(join(tmpdir(), "semblance-browser-"));
  const settings = ["serve", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--upstream", "demo", "--audits", "false", "--refresh-ahead", "false", "--log-level", "warn", "--data-dir", join(home, "data")];
  if (!bare) {
    await cp(join(ROOT, "policies"), join(home, "policies"), { recursive: true });
    for (const file of ["banking.jsonl", "near-miss/negation.jsonl"]) await cp(join(ROOT, "fixtures", file), join(home, "fixtures", file));
    settings.push("--policies", join(home, "policies"), "--traffic-record", "true", "--fixtures", join(home, "fixtures"));
  }
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SEMBLANCE_")));
  if (bare) env.SEMBLANCE_ADMIN_TOKEN = TOKEN;
  const running = spawn(BINARY, settings, { cwd: home, env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => running.once("exit", resolve));
  const [line] = await Promise.race([once(createInterface(running.stdout), "line"), ended.then((code) => { throw new Error(`the gateway ended with ${code}`); })]);
  const { listen, admin } = JSON.parse(line);
  const one = {
    home, admin: `http://${admin}`, listen: `http://${listen}`,
    async stop() {
      running.kill("SIGTERM");
      await ended;
      await rm(home, { recursive: true, force: true });
    },
  };
  await until(async () => (await fetch(`${one.admin}/readyz`)).ok, "the gateway to be ready");
  return one;
}

const once = (emitter, event) => new Promise((resolve) => emitter.once(event, (...values) => resolve(values)));

export async function until(holds, what, limit = 15000) {
  const end = Date.now() + limit;
  for (;;) {
    if (await holds()) return;
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Asks a question as an app would; resolves to what became of it. */
export async function ask(gate, question, { key = "sk-a", model = "gpt-4o-mini", headers = {}, stream = false } = {}) {
  const response = await fetch(`${gate.listen}/v1/chat/completions`, {
    method: "POST", headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    body: JSON.stringify({ model, stream, messages: [{ role: "user", content: question }] }),
  });
  await response.text();
  assert.ok(response.ok, `${question}: ${response.status}`);
  return response.headers.get("x-semblance-cache");
}

export const ENABLE = "How do I enable two-factor authentication?";
export const DISABLE = "How do I disable two-factor authentication?";
export const RESET = "How do I reset my password?";
export const REWORDED = "How can I reset my password?";
export const CANCEL = "How do I cancel my subscription?";
export const REFUND = "What is the refund policy?";

/** Traffic of every kind: first questions, the same again, other wordings, near misses, never cached ones. */
export async function traffic(gate) {
  const questions = [REFUND, RESET, ENABLE, "What is the capital of France?", "Who wrote Hamlet?", "Explain borrow checking in Rust", CANCEL, "Write a poem about autumn", "Tell me a joke", "What is my account balance?", "Is the blue jacket in stock right now?"];
  for (const question of questions) {
    await ask(gate, question, { headers: question.includes("refund") ? { "x-semblance-sources": "doc:42@v7" } : question.startsWith("How do I") ? { "x-semblance-tags": "help" } : {} });
  }
  for (const question of [REWORDED, DISABLE, "Which city is the capital of France?", "How can I cancel my subscription?", ENABLE, ENABLE, REFUND, "What is my account balance?"]) await ask(gate, question);
  for (const [at, question] of questions.entries()) await ask(gate, question, { key: "sk-b", model: at % 2 ? "gpt-4o" : "home-model", stream: at % 3 === 0 });
}

/** Gateway, stand-in and browser of one file of tests. */
export async function desk({ bare = false } = {}) {
  const gate = await gateway({ bare });
  const instead = await standIn(gate.admin, join(ROOT, "src", "admin", "dashboard"));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
  return {
    gate, instead, browser,
    /** Opens `page` of the dashboard, served by what the table says of `part`. */
    async open(page, { part = page.split("?")[0], width = 1280, scheme = "light", base, ...context } = {}) {
      const from = base ?? (PARTS[part] === "gateway" ? gate.admin : instead.address);
      const within = await browser.newContext({ viewport: { width, height: width > 500 ? 860 : 844 }, colorScheme: scheme, locale: "en-GB", timezoneId: "UTC", reducedMotion: "reduce", ...context });
      within.setDefaultTimeout(15000);
      const tab = await within.newPage();
      tab.troubles = [];
      tab.on("pageerror", (error) => tab.troubles.push(error.message));
      tab.on("console", (message) => { if (message.type() === "error" && !expected(tab, message)) tab.troubles.push(message.text()); });
      await tab.goto(`${from}/#/${page}`, { waitUntil: "load" });
      await settled(tab);
      return tab;
    },
    async close() {
      await browser.close();
      await instead.stop();
      await gate.stop();
    },
  };
}

/** The browser itself notes answers that are no success; tests that mean to see one say so by `tab.mayFail`. */
const expected = (tab, message) => tab.mayFail?.some((status) => message.text().includes(`status of ${status}`));

/** Closes a page that has had no trouble. */
export async function done(tab) {
  assert.deepEqual(tab.troubles, []);
  await tab.context().close();
}

/** Waits until what the page asked for has come. */
export async function settled(tab) {
  await tab.locator("main h1").waitFor();
  await tab.waitForFunction(() => !document.querySelector("[aria-busy=true]"));
}

export async function sees(place, text) {
  await place.getByText(text).first().waitFor();
}

export const button = (place, name) => place.getByRole("button", { name, exact: true });
export const dialogOf = (tab) => tab.getByRole("dialog").last();
export const row = (place, text) => place.getByRole("row").filter({ hasText: text });

/** Serious and critical faults that axe finds in the page. */
export async function faults(tab) {
  await tab.evaluate(AXE);
  const { violations } = await tab.evaluate(() => window.axe.run());
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html.slice(0, 160)} (${node.failureSummary})`).join(" | ")}`);
}

/** Keeps a picture of the page, where SEMBLANCE_SCREENSHOTS names a folder. */
export async function picture(tab, name, { fullPage = true } = {}) {
  const folder = process.env.SEMBLANCE_SCREENSHOTS;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await tab.screenshot({ path: join(folder, `${name}.png`), fullPage });
}
