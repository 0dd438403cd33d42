import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { button, desk, dialogOf, done, sees, traffic } from "./harness.mjs";

let all;
before(async () => { all = await desk(); await traffic(all.gate); });
after(() => all.close());

const card = (tab, category) => tab.locator("section.card").filter({ has: tab.getByRole("heading", { name: category, exact: true }) });

test("each category has its freshness, budget and traffic", async () => {
  const tab = await all.open("categories");
  const faq = card(tab, "product-faq");
  await faq.getByRole("img", { name: "Fresh for 1 d; 1 h more while a new answer is fetched; 7 d more when the model fails." }).waitFor();
  await sees(faq, "Nothing audited yet; 2% allowed.");
  await sees(faq, /9 requests, 22\.2% from the cache/);
  const balance = card(tab, "account-balance");
  await sees(balance, "Never cached: every question goes to the model.");
  await sees(balance, "none of which may be cached");
  assert.equal(await tab.locator("section.card").count(), 14);
  await done(tab);
});

test("a bound over its budget is told, and a tripped category is let on again", async () => {
  const tab = await all.open("categories", { part: "trips" });
  const faq = card(tab, "product-faq");
  await faq.getByRole("img", { name: "Bound 12.8%, budget 2%" }).waitFor();
  await sees(faq, "9 of 120 audited hits were wrong: at most 12.8%; 2% allowed. People reported 2.");
  await faq.getByText("tripped", { exact: true }).waitFor();
  await button(faq, "Serve by meaning again").click();
  await button(dialogOf(tab), "Serve by meaning again").click();
  await faq.getByText("tripped", { exact: true }).waitFor({ state: "detached" });
  await done(tab);
});
