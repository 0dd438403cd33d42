// Small pieces that every page is made of. All text goes in as text: nothing that a client wrote becomes markup.

/** An element: h("p", { class: "faint", onclick }, "text", child). Properties that start with "on" are listeners. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const locale = undefined;
const plain = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
export const number = (value) => (value === null || value === undefined ? "–" : plain.format(value));
export const short = (value) => (value === null || value === undefined ? "–" : compact.format(value));
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
export const bytes = (value) => {
  const at = value >= 1000 ? Math.min(Math.floor(Math.log10(value) / 3), UNITS.length - 1) : 0;
  return new Intl.NumberFormat(locale, { style: "unit", unit: UNITS[at], unitDisplay: at ? "short" : "long", maximumFractionDigits: 1 }).format(value / 1000 ** at);
};
export const percent = (share, digits = 1) => (share === null || share === undefined ? "–" : new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: digits }).format(share));
export const usd = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 0.1 || value === 0 ? 2 : 4;
  const format = (dollars) => new Intl.NumberFormat(locale, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(dollars);
  return size > 0 && size < 0.00005 ? `${value < 0 ? "−" : ""}<\u202f${format(0.0001)}` : format(value);
};
export const millis = (ms) => {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${Math.max(1, Math.round(ms * 1000))} µs`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
};
/** A span of time in words of at most two units: "1 h 30 min". */
export const span = (ms) => {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return ms === 0 ? "0 s" : millis(ms);
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.round(ms / 1000);
  const parts = [];
  for (const [name, seconds] of units) {
    if (left >= seconds && parts.length < 2) { parts.push(`${Math.floor(left / seconds)} ${name}`); left %= seconds; }
    else if (parts.length) break;
  }
  return parts.join(" ");
};
/** Milliseconds of a duration as policies write it: "24h", "1day 2h", "0s". */
export const toMs = (text) => {
  const units = { ms: 1, s: 1e3, m: 6e4, min: 6e4, h: 36e5, d: 864e5, w: 6048e5, month: 2630016e3, y: 31557600e3 };
  const unit = (name) => units[name] ?? units[Object.keys(units).find((key) => key.length > 1 && name.startsWith(key))] ?? units[name[0]];
  return [...String(text ?? "").matchAll(/(\d+)\s*([a-z]+)/g)].reduce((sum, [, count, name]) => sum + Number(count) * unit(name), 0);
};
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(locale, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const time = (ms) => h("time", { datetime: new Date(ms).toISOString(), title: new Date(ms).toISOString() }, Math.abs(Date.now() - ms) < 43200000 ? clock.format(ms) : day.format(ms));

export const pill = (text, kind = "") => h("span", { class: `pill ${kind}` }, text);
const OUTCOMES = { "hit-exact": "good", "hit-semantic": "accent", stale: "warn", miss: "", collapsed: "", bypass: "" };
export const outcome = (label) => pill(label, OUTCOMES[label] ?? "");

const BRIEF = {
  exact: "same question", alias: "known wording", semantic: "same meaning", empty: "nothing like it", "below-threshold": "not near enough", "guard-rejected": "refused by the guard",
  "verifier-rejected": "not surely the same", expired: "too old", "zero-ttl": "never cached", blocked: "pairing is blocked", tripped: "category tripped", "exact-only": "same question only",
};
/** A reason in few words. */
export const brief = (reason) => BRIEF[reason] ?? reason;

export const head = (title, words, ...actions) => h("div", { class: "head" }, h("div", {}, h("h1", {}, title), words && h("p", {}, words)), actions.length ? h("div", { class: "row" }, actions) : null);
export const card = (title, props = {}, ...children) => h("section", { class: "card", ...props }, title && h("header", {}, typeof title === "string" ? h("h2", {}, title) : title), ...children);
export const tile = (name, value, note) => h("dl", { class: "card tile" }, h("dt", {}, name), h("dd", {}, value), note ? h("dd", { class: "note" }, note) : null);
export const empty = (text) => h("p", { class: "empty" }, text);
export const notice = (kind, title, ...words) => h("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null }, h("strong", {}, title), ...words.map((text) => (typeof text === "string" ? h("p", {}, text) : text)));

const HINTS = {
  "no-policy-directory": "This gateway runs on its built-in policies. Start it with --policies DIR (a copy of the shipped folder) to edit them here.",
  "policy-conflict": "Somebody has saved meanwhile. Copy your edit, open Policies again, and lay it over the set of today.",
  busy: "One preview runs at a time.",
  "no-traffic-log": "The file of traffic records cannot be used; the gateway's log says why.",
};
/** An error in words, with what to do where that is known. */
export const trouble = (error) => {
  if (error.status === 401) return notice("warn", "Sign in to see this.", "This gateway asks for its admin token.");
  if (error.status === 404 && error.reason === "error") return notice("warn", "This gateway cannot do that yet.", "It has no such endpoint; a newer version has. Everything else on this page works.");
  return notice("bad", error.message || "Something went wrong.", HINTS[error.reason] ?? "");
};

/**
 * columns: [{ name, cell: row => node|text, num, head, wrap, tight, act }]; `act` is for buttons, its name is not shown.
 * The roles are those of the elements: on a narrow window rows are laid out as cards, which would take them away.
 */
export function table(caption, columns, rows, props = {}) {
  const cell = (column, row) => {
    const content = column.cell(row);
    return h(column.head ? "th" : "td", { role: column.head ? "rowheader" : "cell", class: [column.num ? "num" : "", column.wrap ? "wrap" : "", column.tight ? "tight" : ""].join(" ").trim() || null, scope: column.head ? "row" : null, "data-label": column.act ? "" : column.name }, content ?? "");
  };
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: "cards", role: "table", ...props },
      h("caption", {}, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => h("th", { role: "columnheader", scope: "col", class: column.num ? "num" : null }, column.act ? h("span", { class: "unseen" }, column.name) : column.name)))),
      h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { role: "row" }, columns.map((column) => cell(column, row)))))));
}

export const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

const toasts = () => [...document.querySelectorAll("dialog[open] .said")].at(-1) ?? document.getElementById("toasts");
export function toast(text) {
  const shown = h("div", { class: "toast" }, text);
  // What lies under a modal dialog is neither seen nor read out.
  toasts().append(shown);
  setTimeout(() => shown.remove(), 6000);
}

export const closeDialogs = () => document.querySelectorAll("dialog[open]").forEach((box) => box.close());

let dialogs = 0;
/** A dialog that closes by its button, by Escape, and gives the focus back. `fill(sheet, close)` makes its content. */
export function dialog(title, fill) {
  const id = `dialog-${dialogs += 1}`;
  const box = h("dialog", { "aria-labelledby": id });
  const close = () => box.close();
  const sheet = h("div", { class: "stack" });
  box.append(h("div", { class: "sheet" }, h("header", {}, h("h2", { id }, title), h("button", { type: "button", class: "quiet", onclick: close }, "Close")), sheet, h("div", { class: "said", role: "status" })));
  const said = box.querySelector(".said");
  box.addEventListener("close", () => {
    box.remove();
    // What was said stays to be read.
    toasts().append(...said.children);
  });
  document.body.append(box);
  fill(sheet, close);
  box.showModal();
  return close;
}

/** Asks before something that cannot be undone. Resolves to true or false. */
export function confirm(title, words, action, kind = "danger") {
  return new Promise((resolve) => {
    let answer = false;
    dialog(title, (sheet, close) => {
      sheet.append(h("form", { class: "stack", onsubmit: (event) => { event.preventDefault(); answer = true; close(); } }, ...words, h("div", { class: "row" },
        h("button", { class: kind }, action),
        h("button", { type: "button", onclick: close }, "Cancel"))));
      sheet.closest("dialog").addEventListener("close", () => resolve(answer));
    });
  });
}

/** A button that is off while its work runs and tells what went wrong. */
export const action = (text, work, kind = "") => {
  const button = h("button", { type: "button", class: kind }, text);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try { await work(); } catch (error) { toast(error.message); } finally { button.disabled = false; }
  });
  return button;
};

export const field = (name, control) => h("label", {}, name, control);
export const select = (options, props = {}) => h("select", props, options.map((option) => {
  const [value, text] = Array.isArray(option) ? option : [option, option];
  return h("option", { value }, text);
}));

/** Replaces what is in `place` by what `work` gives, or by its error. */
export async function fill(place, work) {
  place.setAttribute("aria-busy", "true");
  try { place.replaceChildren(...[await work()].flat(Infinity).filter(Boolean)); } catch (error) {
    if (error.name !== "AbortError") place.replaceChildren(trouble(error));
  } finally { place.removeAttribute("aria-busy"); }
}

/** Calls `work` now and every `ms`, while the page is looked at, until `signal`. */
export async function repeat(ms, signal, work) {
  while (!signal.aborted) {
    if (!document.hidden) await work();
    await new Promise((resolve) => { const timer = setTimeout(resolve, ms); signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true }); });
  }
}
