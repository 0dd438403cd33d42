// The shell: navigation by the address's hash, theme, signing in.

import * as api from "./api.js";
import { h, closeDialogs, dialog, field, notice, toast, trouble } from "./ui.js";
import overview from "./overview.js";
import categories from "./categories.js";
import decisions from "./decisions.js";
import entries from "./entries.js";
import playground from "./playground.js";
import policies from "./policies.js";
import sources from "./sources.js";
import fixtures from "./fixtures.js";

const PAGES = { overview: ["Overview", overview], categories: ["Categories", categories], decisions: ["Decisions", decisions], entries: ["Entries", entries], playground: ["Playground", playground], policies: ["Policies", policies], sources: ["Sources", sources], fixtures: ["Fixtures", fixtures] };
const main = document.getElementById("main");
const nav = document.getElementById("nav");
let leaving = new AbortController();

// The address's hash names the page, so the skip link must not change it.
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });

// On a narrow window the pages are behind a button.
const menu = document.getElementById("menu");
function expand(open) {
  menu.setAttribute("aria-expanded", String(open));
  document.body.classList.toggle("menu-open", open);
}
menu.addEventListener("click", () => expand(menu.getAttribute("aria-expanded") !== "true"));
document.querySelector(".side").addEventListener("keydown", (event) => { if (event.key === "Escape" && document.body.classList.contains("menu-open")) { expand(false); menu.focus(); } });

for (const [name, [title]] of Object.entries(PAGES)) nav.append(h("li", {}, h("a", { href: `#/${name}` }, title)));

function route() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const name = PAGES[path] ? path : "overview";
  const [title, page] = PAGES[name];
  leaving.abort();
  leaving = new AbortController();
  document.title = `${title} – Semblance`;
  for (const link of nav.querySelectorAll("a")) {
    if (link.getAttribute("href") === `#/${name}`) { link.setAttribute("aria-current", "page"); } else link.removeAttribute("aria-current");
  }
  expand(false);
  closeDialogs();
  main.replaceChildren();
  Promise.resolve(page(main, { signal: leaving.signal, query: new URLSearchParams(search) })).catch((error) => {
    if (error.name !== "AbortError") main.append(trouble(error));
  });
  if (routed) main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
  routed = true;
}
let routed = false;
addEventListener("hashchange", route);

const THEMES = ["system", "light", "dark"];
const themeButton = document.getElementById("theme");
function theme(name) {
  if (name === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = name;
  themeButton.textContent = `Theme: ${name}`;
  localStorage.setItem("semblance-theme", name);
}
themeButton.addEventListener("click", () => theme(THEMES[(THEMES.indexOf(localStorage.getItem("semblance-theme") ?? "system") + 1) % THEMES.length]));
theme(localStorage.getItem("semblance-theme") ?? "system");

const signOut = document.getElementById("sign-out");
signOut.hidden = !api.token.get();
signOut.addEventListener("click", () => { api.token.clear(); location.reload(); });
const signIn = document.getElementById("sign-in");
signIn.addEventListener("click", () => askForToken(false));

let asking = false;
api.whenUnauthorised(() => {
  const refused = api.token.get() !== "";
  api.token.clear();
  signOut.hidden = true;
  askForToken(refused);
});

function askForToken(refused) {
  if (asking) return;
  asking = true;
  dialog("Sign in", (sheet, close) => {
    const input = h("input", { type: "password", autocomplete: "off", autofocus: true, required: true, name: "token" });
    const form = h("form", { class: "stack" }, refused ? notice("bad", "That is not this gateway's token.") : null, h("p", {}, "This gateway asks for its admin token (admin_token, SEMBLANCE_ADMIN_TOKEN). It is kept in this tab only."), field("Admin token", input), h("div", {}, h("button", { class: "primary" }, "Sign in")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      api.token.set(input.value.trim());
      asking = false;
      close();
      signOut.hidden = false;
      signIn.hidden = true;
      route();
      showVersion();
    });
    sheet.append(form);
    sheet.closest("dialog").addEventListener("close", () => { if (asking) { asking = false; signIn.hidden = false; toast("Not signed in: nothing can be shown."); } });
  });
}

const showVersion = () => api.get("/semblance/overview").then(({ version }) => { document.getElementById("version").textContent = `Version ${version}`; }).catch(() => {});
route();
showVersion();
