import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CANCEL, REFUND, RESET, ask, button, desk, dialogOf, done, row, sees, settled } from "./harness.mjs";

let all;
before(async () => {
  all = await desk();
  for (const [question, source] of [[REFUND, "doc:42@v7"], [RESET, "doc:43@v2"], [CANCEL, "cms:7@v1"]]) await on(question, source);
});
after(() => all.close());

const known = (tab) => tab.getByRole("table", { name: "Sources with the version last told" });
/** Asks a question whose answer is built on a document; resolves to what became of it. */
const on = (question, source) => ask(all.gate, question, { headers: { "x-semblance-sources": source } });

test("sources are found by a part of their name, each with the answers that rest on it", async () => {
  const tab = await all.open("sources");
  assert.equal(await known(tab).getByRole("row").count(), 4);
  await tab.getByLabel("Find").fill("cms");
  await button(tab, "Show").click();
  await settled(tab);
  assert.equal(await known(tab).getByRole("row").count(), 2);
  await tab.getByLabel("Find").fill("nothing");
  await button(tab, "Show").click();
  await sees(tab, "No sources are known.");
  await tab.getByLabel("Find").fill("");
  await button(tab, "Show").click();
  await button(tab, "doc:42").click();
  await sees(dialogOf(tab), REFUND);
  await sees(dialogOf(tab), "doc:42@v7");
  await done(tab);
});

test("a changed document makes what rests on it stale, or removes it after a question", async () => {
  const tab = await all.open("sources");
  await tab.getByLabel("Source", { exact: true }).fill("doc:42");
  await tab.getByLabel("New version").fill("v8");
  assert.equal(await on(REFUND, "doc:42@v7"), "hit-exact");
  await button(tab, "Update").click();
  await sees(tab, "doc:42 is at v8: 1 answer made stale.");
  assert.notEqual(await on(REFUND, "doc:42@v7"), "hit-exact");
  assert.equal(await on(REFUND, "doc:42@v8"), "miss", "the new version has its own answer");
  assert.equal(await on(REFUND, "doc:42@v8"), "hit-exact");
  await sees(row(known(tab), "doc:42"), "v8");
  await tab.getByLabel("remove at once").check();
  await tab.getByLabel("New version").fill("v9");
  await button(tab, "Update").click();
  await button(dialogOf(tab), "Cancel").click();
  await button(tab, "Update").click();
  await button(dialogOf(tab), "Remove").click();
  await sees(tab, /doc:42 is at v9: \d answers? removed\./);
  assert.equal(await on(REFUND, "doc:42@v8"), "miss");
  await done(tab);
});

test("a source is forgotten after a question", async () => {
  const tab = await all.open("sources");
  await button(tab, "doc:43").click();
  await button(dialogOf(tab), "Forget it and remove its answers…").click();
  await button(tab.getByRole("dialog", { name: "Forget doc:43?" }), "Forget").click();
  await sees(tab, "doc:43 is forgotten.");
  await row(known(tab), "doc:43").waitFor({ state: "detached" });
  assert.equal(await on(RESET, "doc:43@v2"), "miss");
  await done(tab);
});

test("a ban by meaning is shown and lifted", async () => {
  const order = { near: REFUND, soft: true };
  await fetch(`${all.gate.admin}/semblance/purge`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(order) });
  const tab = await all.open("sources");
  const bans = tab.getByRole("table", { name: "1 in force" });
  await sees(row(bans, "What is the refund policy?"), "0.85");
  await button(bans, "Lift").click();
  await sees(tab, "No bans are in force.");
  await done(tab);
});
