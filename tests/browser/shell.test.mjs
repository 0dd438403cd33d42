// What holds on every page: signing in, moving about, themes, the keyboard, what the files may do, and gateways that lack
// something.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { ROOT, TOKEN, button, desk, dialogOf, done, faults, picture, sees, settled } from "./harness.mjs";
import { PAGES } from "./pages.mjs";

const TITLE = (page) => page[0].toUpperCase() + page.slice(1);

describe("a gateway without a token", () => {
  let all;
  before(async () => { all = await desk(); });
  after(() => all.close());

  test("serves the files of the source with a strict policy, and its index to programs", async () => {
    const folder = join(ROOT, "src", "admin", "dashboard");
    for (const name of await readdir(folder)) {
      const served = await fetch(`${all.gate.admin}/dashboard/${name}`);
      assert.equal(await served.text(), await readFile(join(folder, name), "utf8"), `${name}: build the binary anew`);
      const rules = served.headers.get("content-security-policy");
      assert.match(rules, /default-src 'none'/);
      assert.doesNotMatch(rules, /unsafe|\*|https?:/);
      assert.equal(served.headers.get("x-content-type-options"), "nosniff");
      assert.equal(served.headers.get("referrer-policy"), "no-referrer");
      const again = await fetch(`${all.gate.admin}/dashboard/${name}`, { headers: { "if-none-match": served.headers.get("etag") } });
      assert.equal(again.status, 304);
    }
    const index = await (await fetch(all.gate.admin, { headers: { accept: "application/json" } })).json();
    assert.ok(index.get.includes("/semblance/entries"));
    assert.equal((await fetch(`${all.gate.admin}/dashboard/nothing.js`)).status, 404);
  });

  test("has every page in its navigation, each with a title and one first heading", async () => {
    const tab = await all.open("overview");
    tab.mayFail = [400, 404];
    for (const page of PAGES) {
      await tab.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: TITLE(page) }).click();
      await tab.getByRole("heading", { level: 1, name: TITLE(page) }).waitFor();
      await settled(tab);
      assert.equal(await tab.title(), `${TITLE(page)} – Semblance`);
      assert.equal(await tab.locator("h1").count(), 1);
      assert.equal(await tab.locator("nav [aria-current=page]").textContent(), TITLE(page));
    }
    await tab.goBack();
    await tab.getByRole("heading", { level: 1, name: "Sources" }).waitFor();
    await done(tab);
  });

  test("shows the overview for an address that is none", async () => {
    const tab = await all.open("nowhere", { part: "overview" });
    await tab.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    await done(tab);
  });

  test("keeps the chosen theme", async () => {
    const tab = await all.open("overview");
    const background = () => tab.evaluate(() => getComputedStyle(document.body).color);
    const light = await background();
    await button(tab, "Theme: system").click();
    assert.equal(await background(), light);
    await button(tab, "Theme: light").click();
    const dark = await background();
    assert.notEqual(dark, light);
    await tab.reload();
    await button(tab, "Theme: dark").waitFor();
    assert.equal(await background(), dark);
    await button(tab, "Theme: dark").click();
    assert.equal(await background(), light);
    await done(tab);
  });

  test("can be used by keyboard alone: skip link, pages, and a dialog that gives the focus back", async () => {
    const tab = await all.open("policies");
    const focused = () => tab.evaluate(() => document.activeElement.textContent);
    await tab.keyboard.press("Tab");
    assert.equal(await focused(), "Skip to the content");
    assert.ok(await tab.evaluate(() => document.activeElement.getBoundingClientRect().left >= 0), "it is seen");
    await tab.keyboard.press("Enter");
    assert.equal(await tab.evaluate(() => document.activeElement.id), "main");
    await tab.getByRole("heading", { level: 1, name: "Policies" }).waitFor();
    const file = button(tab, "default");
    await file.focus();
    assert.notEqual(await tab.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), "none");
    await tab.keyboard.press("Enter");
    const text = tab.getByLabel("Text of default.toml");
    await text.press("Control+End");
    await text.pressSequentially("# a word\n");
    await sees(tab, "This edit changes nothing but words.");
    // The editor is no trap.
    await tab.keyboard.press("Tab");
    assert.equal(await focused(), "Save…");
    await tab.keyboard.press("Enter");
    await dialogOf(tab).waitFor();
    await tab.keyboard.press("Escape");
    await dialogOf(tab).waitFor({ state: "detached" });
    assert.equal(await focused(), "Save…");
    await done(tab);
  });

  test("has its pages behind a button on a phone", async () => {
    const tab = await all.open("overview", { width: 390 });
    const link = tab.getByRole("link", { name: "Entries" });
    assert.ok(!await link.isVisible());
    await button(tab, "Menu").click();
    await link.waitFor();
    assert.equal(await button(tab, "Menu").getAttribute("aria-expanded"), "true");
    await picture(tab, "menu-390-light");
    assert.deepEqual(await faults(tab), []);
    await link.press("Escape");
    assert.ok(!await link.isVisible());
    await button(tab, "Menu").click();
    await link.click();
    await tab.getByRole("heading", { level: 1, name: "Entries" }).waitFor();
    assert.ok(!await link.isVisible());
    await done(tab);
  });

  test("moves nothing where people ask for no motion", async () => {
    const tab = await all.open("overview", { reducedMotion: "reduce" });
    assert.equal(await tab.evaluate(() => [...document.querySelectorAll("*")].filter((element) => parseFloat(getComputedStyle(element).transitionDuration) > 0 || getComputedStyle(element).animationName !== "none").length), 0);
    await done(tab);
  });

  test("says so in words where the gateway has no such endpoint, and when it is gone", async () => {
    const tab = await all.open("overview");
    tab.mayFail = [404];
    await tab.route("**/semblance/sources*", (route) => route.fulfill({ status: 404 }));
    await tab.goto(`${all.gate.admin}/#/sources`);
    await sees(tab, "This gateway cannot do that yet.");
    await tab.route("**/semblance/**", (route) => route.abort());
    await tab.goto(`${all.gate.admin}/#/entries`);
    await sees(tab, "The gateway does not answer.");
    tab.troubles = tab.troubles.filter((text) => !text.includes("ERR_FAILED"));
    await done(tab);
  });
});

describe("a gateway with a token, without a policy directory and without a record", () => {
  let all;
  before(async () => { all = await desk({ bare: true }); });
  after(() => all.close());

  const enter = async (tab, token = TOKEN) => {
    await dialogOf(tab).getByLabel("Admin token").fill(token);
    await button(dialogOf(tab), "Sign in").click();
  };

  test("shows the page to anybody and what it holds only to who has the token, until signing out", async () => {
    const tab = await all.open("overview", { base: all.gate.admin });
    tab.mayFail = [401];
    await tab.getByRole("dialog", { name: "Sign in" }).waitFor();
    await picture(tab, "sign-in-1280-light");
    assert.equal(await tab.evaluate(() => document.activeElement.name), "token", "one can type at once");
    assert.deepEqual(await faults(tab), []);
    await enter(tab, "a guess");
    await sees(dialogOf(tab), "That is not this gateway's token.");
    await enter(tab);
    await sees(tab, "Requests per second");
    await sees(tab, "Version ");
    assert.deepEqual(await tab.evaluate(() => [Object.values(sessionStorage), document.cookie, JSON.stringify(localStorage)]), [[TOKEN], "", '{"semblance-theme":"system"}']);
    assert.ok(!tab.url().includes(TOKEN));
    await tab.reload();
    await sees(tab, "Requests per second");
    await button(tab, "Sign out").click();
    await tab.getByRole("dialog", { name: "Sign in" }).waitFor();
    assert.equal(await tab.evaluate(() => sessionStorage.length), 0);
    await tab.keyboard.press("Escape");
    await sees(tab, "Sign in to see this.");
    await button(tab, "Sign in").click();
    await enter(tab);
    await sees(tab, "Requests per second");
    tab.troubles = tab.troubles.filter((text) => !text.includes("401"));
    await done(tab);
  });

  test("says how to switch on what is off", async () => {
    const tab = await all.open("overview", { base: all.gate.admin });
    tab.mayFail = [401, 404, 409];
    await enter(tab);
    await sees(tab, "Requests are not recorded. Start the gateway with --traffic-record true");
    await tab.goto(`${all.gate.admin}/#/decisions`);
    await sees(tab, "Requests are not being recorded.");
    await sees(tab, "SEMBLANCE_TRAFFIC_RECORD");
    await tab.getByText("connected", { exact: true }).waitFor();
    await tab.goto(`${all.gate.admin}/#/policies`);
    await sees(tab, "This gateway runs on its built-in policies.");
    await sees(tab, "built in, read only");
    assert.ok(await tab.getByLabel("Text of account-balance.toml").evaluate((text) => text.readOnly));
    await button(tab, "Preview on traffic").click();
    await sees(tab, "There is no recorded traffic to try it on.");
    tab.troubles = tab.troubles.filter((text) => !text.includes("401"));
    await done(tab);
  });
});
