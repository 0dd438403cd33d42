import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CANCEL, ENABLE, RESET, ask, button, desk, dialogOf, done, row, sees, settled, traffic } from "./harness.mjs";

let all;
before(async () => { all = await desk(); await traffic(all.gate); });
after(() => all.close());

const search = async (tab) => { await button(tab, "Search").click(); await settled(tab); };
const found = (tab) => tab.getByRole("table", { name: /shown|newest first/ });

test("entries are found by category and tag, and turn page by page", async () => {
  const tab = await all.open("entries");
  const rows = async () => await found(tab).getByRole("row").count() - 1;
  assert.ok(await rows() > 15);
  await tab.getByLabel("Tag").fill("help");
  await search(tab);
  assert.equal(await rows(), 3);
  await tab.getByLabel("Category").selectOption("documentation");
  await search(tab);
  assert.equal(await rows(), 1);
  await row(found(tab), ENABLE).waitFor();
  await tab.getByLabel("Tag").fill("nothing");
  await search(tab);
  await sees(tab, "No entry matches.");
  await done(tab);
});

test("entries are found by text, meaning and source, each with its freshness", async () => {
  const tab = await all.open("entries");
  await tab.getByLabel("Text", { exact: true }).fill("HAMLET");
  await search(tab);
  assert.equal(await found(tab).getByRole("row").count() - 1, 2);
  await row(found(tab), "Who wrote Hamlet?").first().getByText("fresh").waitFor();
  await tab.getByLabel("Text", { exact: true }).fill("");
  await tab.getByLabel("By meaning").fill("Who is the author of Hamlet?");
  await search(tab);
  await found(tab).getByRole("row").nth(1).getByText("Who wrote Hamlet?").waitFor();
  await found(tab).getByRole("row").nth(1).getByText(/^0\.[6-9]\d+$/).waitFor();
  await tab.getByLabel("By meaning").fill("");
  await tab.getByLabel("Source").fill("doc:42");
  await search(tab);
  await sees(found(tab), "doc:42@v7");
  await done(tab);
});

test("what clients wrote is shown as text, whatever it is", async () => {
  const question = 'How do I reset my password? <img src="x" onerror="document.title=1"><b>now</b>';
  await ask(all.gate, question);
  for (const page of ["entries", "decisions"]) {
    const tab = await all.open(page);
    await button(tab, question).click();
    await sees(dialogOf(tab), question);
    assert.equal(await tab.locator("main img, main b, dialog img, dialog b").count(), 0);
    await done(tab);
  }
});

test("an entry shows its answer, is purged soft, marked wrong, and purged hard after a question", async () => {
  const tab = await all.open("entries");
  const open = async (question) => { await button(found(tab), question).last().click(); await sees(dialogOf(tab), "Answer"); return dialogOf(tab); };
  const entry = await open(ENABLE);
  await sees(entry, "To turn two-factor authentication on, open Settings");
  await button(entry, "Purge soft").click();
  await sees(tab, "Made stale");
  assert.equal(await ask(all.gate, ENABLE), "stale");
  await button(await open(RESET), "Mark wrong").click();
  await sees(tab, "Marked wrong");
  assert.equal(await ask(all.gate, "How can I reset my password?"), "miss");
  const subscription = await open(CANCEL);
  await button(subscription, "Purge hard…").click();
  await button(tab.getByRole("dialog", { name: "Remove this entry?" }), "Cancel").click();
  await button(subscription, "Purge hard…").click();
  await button(tab.getByRole("dialog", { name: "Remove this entry?" }), "Remove").click();
  await sees(tab, "Removed.");
  assert.equal(await ask(all.gate, CANCEL), "miss");
  await done(tab);
});

test("a purge counts first, asks, and does what it counted", async () => {
  const tab = await all.open("entries");
  await tab.getByText("Purge what matches").click();
  await button(tab, "Purge hard…").click();
  await sees(tab, "Fill in a category, tag, source, meaning or age first.");
  await tab.getByLabel("Category").selectOption("reference-facts");
  await search(tab);
  const count = await found(tab).getByRole("row").count() - 1;
  assert.ok(count >= 2);
  await button(tab, "Purge soft…").click();
  await sees(dialogOf(tab), `${count} entries would be made stale.`);
  await button(dialogOf(tab), "Cancel").click();
  assert.equal(await ask(all.gate, "Who wrote Hamlet?"), "hit-exact");
  await button(tab, "Purge soft…").click();
  await button(dialogOf(tab), `Make ${count} stale`).click();
  await sees(tab, `${count} made stale.`);
  assert.equal(await ask(all.gate, "Who wrote Hamlet?"), "stale");
  await button(tab, "Purge hard…").click();
  await button(dialogOf(tab), /^Remove \d+$/).click();
  await sees(tab, /^\d+ removed\.$/);
  await sees(tab, "No entry matches.");
  await done(tab);
});

test("a purge by meaning says what it would take and does it", async () => {
  const rename = "How do I rename a workspace?";
  await ask(all.gate, rename);
  assert.equal(await ask(all.gate, rename), "hit-exact");
  const tab = await all.open("entries");
  await tab.getByText("Purge what matches").click();
  await tab.getByLabel("By meaning").fill(rename);
  await button(tab, "Purge hard…").click();
  await sees(dialogOf(tab), "1 entry would be removed for good.");
  await sees(dialogOf(tab), rename);
  await button(dialogOf(tab), "Remove 1").click();
  await sees(tab, "1 removed.");
  assert.equal(await ask(all.gate, rename), "miss");
  await done(tab);
});
