// Every page in light and dark, wide and on a phone: nothing runs out of the window, axe finds no serious fault, and a
// picture is kept where SEMBLANCE_SCREENSHOTS names a folder.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DISABLE, button, desk, dialogOf, done, faults, picture, row, sees, settled, traffic } from "./harness.mjs";
import { PAGES } from "./pages.mjs";

let all;
before(async () => {
  all = await desk();
  await traffic(all.gate);
});
after(() => all.close());

/** What is done on a page before it is looked at. */
const SCENES = {
  async playground(tab) {
    await tab.getByLabel("Question asked").fill(DISABLE);
    await button(tab, "Explain").click();
    await sees(tab, "antonym");
  },
  async fixtures(tab) {
    await button(tab, "Run").click();
    await sees(tab, "Wrong share of hits");
  },
  async policies(tab) {
    await button(tab, "product-faq").click();
    const text = tab.getByLabel("Text of product-faq.toml");
    await text.fill((await text.inputValue()).replace(/^ttl = .*\n.*\n.*$/m, 'ttl = "0s"'));
    await sees(tab, "This edit changes:");
    await button(tab, "Preview on traffic").click();
    await tab.getByRole("table", { name: /decisions? would change/ }).waitFor();
  },
};

/** Dialogs, looked at like pages. */
const DIALOGS = {
  decision: ["decisions?refused=1", (tab) => row(tab, DISABLE).first().getByRole("button").click()],
  entry: ["entries", (tab) => tab.getByRole("table").getByRole("button").first().click()],
  source: ["sources", (tab) => button(tab, "doc:42").click()],
};

for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    for (const page of PAGES) {
      test(`${page} at ${width} px, ${scheme}`, async () => {
        // The stand-in has something to show on every page.
        const tab = await all.open(page, { base: all.instead.address, width, scheme });
        await SCENES[page]?.(tab);
        await settled(tab);
        await picture(tab, `${page}-${width}-${scheme}`);
        assert.deepEqual(await faults(tab), []);
        assert.ok(await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than the window");
        await done(tab);
      });
    }
    for (const [name, [page, show]] of Object.entries(DIALOGS)) {
      test(`the dialog of a ${name} at ${width} px, ${scheme}`, async () => {
        const tab = await all.open(page, { base: all.instead.address, width, scheme });
        await show(tab);
        await dialogOf(tab).waitFor();
        await settled(tab);
        await picture(tab, `dialog-${name}-${width}-${scheme}`, { fullPage: false });
        assert.deepEqual(await faults(tab), []);
        await done(tab);
      });
    }
  }
}
