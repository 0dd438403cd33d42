import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DISABLE, ENABLE, REFUND, RESET, REWORDED, ask, button, desk, dialogOf, done, row, sees, settled, traffic } from "./harness.mjs";

let all;
before(async () => { all = await desk(); await traffic(all.gate); });
after(() => all.close());

const recorded = (tab) => tab.getByRole("table", { name: "Requests, newest first" });
const live = (tab) => tab.getByRole("table", { name: /last ten requests/ });
const show = async (tab) => { await button(tab, "Show").click(); await settled(tab); };

test("requests appear live, can be held, and are read out now and then", async () => {
  const tab = await all.open("decisions");
  await tab.getByText("connected", { exact: true }).waitFor();
  await ask(all.gate, RESET);
  await row(live(tab), RESET).waitFor();
  assert.match(await tab.getByRole("log").textContent(), /hit-exact: How do I reset my password\?, product-faq/);
  await button(tab, "Pause").click();
  await ask(all.gate, ENABLE);
  await ask(all.gate, REFUND);
  await tab.waitForTimeout(500);
  assert.equal(await row(live(tab), ENABLE).count(), 0);
  await button(tab, "Go on").click();
  await ask(all.gate, ENABLE);
  await row(live(tab), ENABLE).waitFor();
  await done(tab);
});

test("the record can be narrowed by outcome, category, words and near misses", async () => {
  const tab = await all.open("decisions");
  const rows = async () => await recorded(tab).getByRole("row").count() - 1;
  const everything = await rows();
  await tab.getByLabel("Outcome").selectOption("hit-semantic");
  await show(tab);
  assert.equal(await rows(), 2);
  await row(recorded(tab), REWORDED).waitFor();
  await tab.getByLabel("Outcome").selectOption("");
  await tab.getByLabel("Category").selectOption("account-balance");
  await show(tab);
  assert.equal(await rows(), 3);
  await sees(recorded(tab), "words not kept");
  await tab.getByLabel("Category").selectOption("");
  await tab.getByLabel("Question", { exact: true }).fill("two-factor");
  await show(tab);
  assert.ok(await rows() < everything && await rows() >= 4);
  await tab.getByLabel("near misses only").check();
  await show(tab);
  assert.equal(await rows(), 1);
  await sees(row(recorded(tab), DISABLE), "differs in antonym");
  await tab.getByLabel("Question", { exact: true }).fill("no such words");
  await show(tab);
  await sees(tab, "No request matches.");
  await done(tab);
});

test("older requests come when they are asked for", async () => {
  for (let at = 0; at < 25; at += 1) await ask(all.gate, RESET);
  const tab = await all.open("decisions");
  await button(tab, "Show older ones").click();
  await tab.getByRole("table", { name: "Older requests" }).waitFor();
  await done(tab);
});

test("a near miss opens with what refused it and becomes a fixture case", async () => {
  const tab = await all.open("decisions?refused=1");
  await button(recorded(tab), DISABLE).click();
  const decision = dialogOf(tab);
  await sees(decision, "A stored question is close, but differs in something that changes the answer.");
  await sees(decision, "antonym: 'disable' against 'enable'");
  await sees(decision, ENABLE);
  assert.equal(await button(decision, "Mark wrong").count(), 0, "nothing was served");
  await button(decision, "Add as a fixture case").click();
  await tab.getByRole("dialog", { name: "Add a fixture case" }).waitFor();
  await button(dialogOf(tab), "Add").click();
  await sees(tab, /Added to desk\.jsonl: 1 cases?\./);
  const added = JSON.parse(await readFile(join(all.gate.home, "fixtures", "desk.jsonl"), "utf8"));
  assert.deepEqual([added.seed, added.ask, added.expect, added.kind, added.category], [ENABLE, DISABLE, "miss", "antonym", "documentation"]);
  assert.equal(added.of.length, 1, "whose question it is, so that an erasure finds it");
  await done(tab);
});

test("a hit is marked stale, unsafe and wrong, and is not served that way again", async () => {
  const tab = await all.open("decisions");
  const open = async (question, outcome) => {
    await tab.getByLabel("Outcome").selectOption(outcome);
    await show(tab);
    await button(recorded(tab), question).first().click();
    await sees(dialogOf(tab), outcome === "hit-exact" ? "The same question was asked before" : "A stored question means the same");
    return dialogOf(tab);
  };
  const mark = async (question, outcome, verdict) => {
    await button(await open(question, outcome), `Mark ${verdict}`).click();
    await sees(tab, `Marked ${verdict}.`);
    await dialogOf(tab).waitFor({ state: "detached" });
  };
  await mark(REWORDED, "hit-semantic", "wrong");
  assert.equal(await ask(all.gate, REWORDED), "miss");
  await mark(ENABLE, "hit-exact", "stale");
  assert.equal(await ask(all.gate, ENABLE), "stale");
  await mark(REFUND, "hit-exact", "unsafe");
  assert.equal(await ask(all.gate, REFUND), "miss");
  await done(tab);
});

test("what cannot be done is told inside the open dialog", async () => {
  const tab = await all.open("decisions");
  tab.mayFail = [404];
  await tab.route("**/semblance/feedback", (route) => route.fulfill({ status: 404, json: { error: { reason: "no-request", message: "no hit of this request id is remembered" } } }));
  await tab.getByLabel("Outcome").selectOption("hit-exact");
  await show(tab);
  await button(recorded(tab), RESET).first().click();
  await button(dialogOf(tab), "Mark wrong").click();
  await sees(dialogOf(tab).getByRole("status"), "no hit of this request id is remembered");
  await done(tab);
});

test("a decision leads to its entry", async () => {
  const tab = await all.open("decisions");
  await tab.getByLabel("Outcome").selectOption("hit-exact");
  await show(tab);
  await button(recorded(tab), RESET).first().click();
  await tab.getByRole("link", { name: "Open the entry" }).click();
  await tab.getByRole("dialog", { name: /^Entry e/ }).waitFor();
  await sees(dialogOf(tab), RESET);
  await done(tab);
});
