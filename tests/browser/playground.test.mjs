import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { DISABLE, ENABLE, REWORDED, ask, button, desk, done, row, sees, settled } from "./harness.mjs";

let all;
before(async () => { all = await desk(); for (const question of [ENABLE, "How do I reset my password?", "What is the refund policy?"]) await ask(all.gate, question); });
after(() => all.close());

const explain = async (tab, question, other = "") => {
  await tab.getByLabel("Question asked").fill(question);
  await tab.getByLabel("Cached question to compare with").fill(other);
  await button(tab, "Explain").click();
  await settled(tab);
};

test("a question shows its category, candidates, guard, p, bar and the arithmetic of freshness", async () => {
  const tab = await all.open("playground");
  await explain(tab, REWORDED);
  await sees(tab, "would be served");
  await sees(tab, "The answer to “How do I reset my password?” would be served.");
  const best = row(tab.getByRole("table"), "How do I reset my password?");
  await sees(best, "accepted");
  await sees(best, /fresh for 23h 59m \d+s more/);
  await explain(tab, DISABLE);
  await sees(tab, "would go to the model");
  await sees(row(tab.getByRole("table"), ENABLE), "antonym: 'disable' against 'enable'");
  await done(tab);
});

test("a question of a never cached category is withheld, and the category can be chosen", async () => {
  const tab = await all.open("playground");
  await explain(tab, "What is my account balance?");
  await sees(tab, "never cached");
  await tab.getByLabel("Category").selectOption("live-inventory");
  await explain(tab, REWORDED);
  await sees(tab, /live-inventory \(/);
  await sees(tab, "withheld: never cached");
  await done(tab);
});

test("two questions are compared, and nothing is stored or asked", async () => {
  const tab = await all.open("playground");
  const before = (await (await fetch(`${all.gate.admin}/semblance/entries`)).json()).entries.length;
  await explain(tab, DISABLE, ENABLE);
  await sees(tab, "The two questions would not share an answer.");
  await sees(tab, "antonym: 'disable' against 'enable'");
  await explain(tab, REWORDED, "How do I reset my password?");
  await sees(tab, "Both questions would share an answer.");
  await explain(tab, "My e-mail is jane.doe@posteo.de, how do I reset my password?", "How do I reset my password?");
  await sees(tab, "personal data");
  assert.equal((await (await fetch(`${all.gate.admin}/semblance/entries`)).json()).entries.length, before);
  await done(tab);
});
