import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { button, desk, done, row, sees, settled } from "./harness.mjs";

let all;
before(async () => { all = await desk(); });
after(() => all.close());

test("chosen files are run with progress, and the report says what was served wrongly", async () => {
  const tab = await all.open("fixtures");
  await tab.getByLabel("Run banking.jsonl").uncheck();
  await tab.getByLabel("all in one pool").check();
  await button(tab, "Run").click();
  await tab.getByRole("progressbar", { name: "Progress of the run" }).waitFor();
  await sees(tab.locator("dl.tile").filter({ hasText: "Paraphrases hit" }), /\d of 8/);
  await sees(tab.locator("dl.tile").filter({ hasText: "Near misses served" }), /\d of 8/);
  await sees(tab.locator("dl.tile").filter({ hasText: "Wrong share of hits" }), /at most [\d.]+% with 95 % certainty/);
  await row(tab.getByRole("table", { name: "By kind" }), "negation").getByText(/\d of 8/).first().waitFor();
  await done(tab);
});

test("nothing is run where no file is chosen", async () => {
  const tab = await all.open("fixtures");
  for (const box of await tab.getByRole("table").getByRole("checkbox").all()) await box.uncheck();
  await button(tab, "Run").click();
  await sees(tab, "Choose at least one file.");
  await done(tab);
});

test("a case is added, and one that is no case is refused in words", async () => {
  const tab = await all.open("fixtures");
  tab.mayFail = [400];
  await tab.getByLabel("Stored question").fill("May I bring my dog?");
  await tab.getByLabel("Question asked").fill(" ");
  await button(tab, "Add").click();
  await sees(tab, "must not be empty");
  await tab.getByLabel("Question asked").fill("May I not bring my dog?");
  await tab.getByLabel("Kind").fill("negation");
  await button(tab, "Add").click();
  await sees(tab, /Added to desk.jsonl: 1 cases?\./);
  await settled(tab);
  assert.equal(await row(tab.getByRole("table", { name: "Fixture files" }), "desk.jsonl").getByRole("cell").nth(1).textContent(), "1");
  assert.equal(await tab.getByLabel("Stored question").inputValue(), "");
  await done(tab);
});
