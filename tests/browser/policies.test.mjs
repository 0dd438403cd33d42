// As a product manager would: change how long answers live, see it in words and on traffic, save, see the next answer
// change, go back.

import assert from "node:assert/strict";
import { appendFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { RESET, ask, button, desk, dialogOf, done, row, sees, settled, traffic, until } from "./harness.mjs";

let all;
before(async () => { all = await desk(); await traffic(all.gate); });
after(() => all.close());

const NEVER = [/^ttl = .*\n.*\n.*$/m, 'ttl = "0s"'];
const text = (tab, file = "product-faq.toml") => tab.getByLabel(`Text of ${file}`);
const history = (tab) => tab.getByRole("table", { name: /Every set of policies/ });

async function edit(tab, change, file = "product-faq") {
  await button(tab, file).click();
  const place = text(tab, `${file}.toml`);
  await place.fill((await place.inputValue()).replace(...change));
}

test("a mistake is told with its line, marked there, and cannot be saved", async () => {
  const tab = await all.open("policies");
  await edit(tab, ['ttl = "24h"', 'ttl = "soon"']);
  await sees(tab, "1 problem: this cannot be saved.");
  assert.ok(await button(tab, "Save…").isDisabled());
  const line = (await text(tab).inputValue()).split("\n").findIndex((one) => one.startsWith("ttl")) + 1;
  await tab.locator(".bad-line").filter({ hasText: `${line}` }).waitFor();
  await button(tab, `product-faq.toml, line ${line}`).click();
  assert.equal(await text(tab).evaluate((place) => place.value.slice(place.selectionStart, place.selectionEnd)), 'ttl = "soon"');
  await button(tab, "Undo the edit").click();
  await sees(tab, "In plain words");
  assert.match(await text(tab).inputValue(), /ttl = "24h"/);
  await done(tab);
});

test("an edit is told in words, tried on traffic, saved with a name, and changes the next answer; one click takes it back", async () => {
  const tab = await all.open("policies");
  assert.equal(await ask(all.gate, RESET), "hit-exact");
  await edit(tab, NEVER);
  await sees(tab, "This edit changes:");
  await sees(tab, "Answers are no longer stored: every question goes to the model");

  await button(tab, "Preview on traffic").click();
  const figures = tab.getByRole("table", { name: /^\d+ requests$/ });
  await figures.waitFor();
  const calls = (await row(figures, "Calls to the model").getByRole("cell").allTextContents()).map(Number);
  assert.ok(calls[1] > calls[0], `${calls}`);
  await row(tab.getByRole("table", { name: /By category/ }), "product-faq").waitFor();
  await sees(tab.getByRole("table", { name: /decisions? would change/ }), "How can I reset my password?");
  const report = await fetch(all.gate.admin + await tab.getByRole("link", { name: "Full report" }).getAttribute("href"));
  assert.ok(report.ok);
  assert.equal(await ask(all.gate, RESET), "hit-exact", "a preview changes nothing");

  await button(tab, "Save…").click();
  await button(dialogOf(tab), "Save").click();
  assert.ok(await dialogOf(tab).isVisible(), "a name is needed");
  await dialogOf(tab).getByLabel("Who you are").fill("Ann");
  await dialogOf(tab).getByLabel("Note").fill("Answers must be new");
  await button(dialogOf(tab), "Save").click();
  await sees(tab, "Saved as version 2");
  assert.equal(await ask(all.gate, RESET), "bypass");
  assert.match(await readFile(join(all.gate.home, "policies", "product-faq.toml"), "utf8"), /ttl = "0s"/);

  const [first, second] = [row(history(tab), "start"), row(history(tab), "Ann")];
  await sees(second, "Answers must be new");
  await sees(second, "in force");
  await button(first, "Go back to this").click();
  await sees(dialogOf(tab), "Go back to version 1?");
  await button(dialogOf(tab), "Go back").click();
  await sees(tab, "Version 1 is in force again, as version 3.");
  assert.equal(await ask(all.gate, RESET), "hit-exact");
  await until(async () => /ttl = "24h"/.test(await text(tab).inputValue()), "the editor to show what is in force");
  await done(tab);
});

test("an edit of two files is saved as one, and both are marked until then", async () => {
  const tab = await all.open("policies");
  await edit(tab, ['ttl = "24h"', 'ttl = "12h"']);
  await sees(tab, "This edit changes:");
  await edit(tab, [/^ttl .*$/m, 'ttl = "2h"'], "default");
  await sees(tab, "default: ");
  await button(tab, "Save…").click();
  await sees(dialogOf(tab), "2 files change");
  await button(dialogOf(tab), "Cancel").click();
  await done(tab);
});

test("whoever saves second is told that the set has changed", async () => {
  const tab = await all.open("policies");
  tab.mayFail = [409];
  await edit(tab, ['ttl = "24h"', 'ttl = "6h"']);
  await sees(tab, "This edit changes:");
  await appendFile(join(all.gate.home, "policies", "writing.toml"), "# by hand\n");
  const revision = async () => (await (await fetch(`${all.gate.admin}/semblance/policies/files`)).json());
  const { revision: seen } = await revision();
  await until(async () => (await revision()).in_use === seen, "the edit by hand to be in use");
  await button(tab, "Save…").click();
  await dialogOf(tab).getByLabel("Who you are").fill("Bob");
  await button(dialogOf(tab), "Save").click();
  await sees(tab, "Somebody has saved meanwhile.");
  await settled(tab);
  await done(tab);
});

test("a preview can be cancelled and another one begun", async () => {
  const tab = await all.open("policies");
  let running = true;
  await tab.route("**/semblance/simulate/*", async (route) => (running && route.request().method() === "GET" ? route.fulfill({ json: { state: "running", done: 1, total: 30, error: null } }) : route.continue()));
  await edit(tab, NEVER);
  await button(tab, "Preview on traffic").click();
  await sees(tab, "1 of 30 requests");
  const cancelled = tab.waitForRequest((request) => request.method() === "DELETE");
  await button(tab, "Cancel").click();
  await cancelled;
  await sees(tab, "Cancelling");
  running = false;
  await tab.getByText("Cancelling").waitFor({ state: "detached" });
  await button(tab, "Preview on traffic").click();
  await tab.getByRole("table", { name: /^\d+ requests$/ }).waitFor();
  await done(tab);
});
