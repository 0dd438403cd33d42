import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, RESET, button, desk, dialogOf, done, row, sees, settled, traffic } from "./harness.mjs";

let all;
before(async () => { all = await desk(); await traffic(all.gate); });
after(() => all.close());

test("the overview shows rates, latencies, savings with the wrong-hit bound beside them, and health", async () => {
  const tab = await all.open("overview");
  const tile = (name) => tab.locator("dl.tile").filter({ hasText: name });
  assert.match(await tile("Served from the cache").textContent(), /\d+%/);
  assert.match(await tile("A hit begins after").textContent(), /(µs|ms).*99 of 100 within/);
  assert.match(await tile("Saved today, net").textContent(), /\$0\.\d+.*tokens/);
  const savings = row(tab.getByRole("table", { name: /Net of refreshes/ }), "product-faq");
  await savings.waitFor();
  assert.equal(await savings.getByRole("cell").nth(2).textContent(), "2");
  await sees(savings, "not audited yet");
  for (const check of ["store", "index", "embedder", "policies", "traffic"]) await tab.locator(".health li").filter({ hasText: check }).getByRole("img", { name: "well" }).waitFor();
  await sees(tab, "No category is tripped");
  await done(tab);
});

test("the chart tells its numbers in words and follows new requests", async () => {
  const tab = await all.open("overview");
  const hits = async () => Number((await tab.getByRole("img", { name: /Requests by minute/ }).getAttribute("aria-label")).match(/Hits (\d+)/)[1]);
  const first = await hits();
  await ask(all.gate, RESET);
  await tab.waitForFunction((before) => Number(document.querySelector("svg.chart[aria-label^='Requests by minute']").getAttribute("aria-label").match(/Hits (\d+)/)[1]) === before + 1, first);
  await done(tab);
});

test("a tripped category is let on again after a question", async () => {
  const tab = await all.open("overview", { part: "trips" });
  await sees(tab, "9 of 120 audited hits were wrong");
  await button(tab, "Serve by meaning again").click();
  await button(dialogOf(tab), "Cancel").click();
  assert.ok(all.instead.world.tripped, "nothing was done");
  await button(tab, "Serve by meaning again").click();
  await button(dialogOf(tab), "Serve by meaning again").click();
  await sees(tab, "No category is tripped");
  assert.deepEqual(all.instead.asked.filter(({ path }) => path.endsWith("/reset")).map(({ body }) => body), [{ category: "product-faq" }]);
  await settled(tab);
  await done(tab);
});
