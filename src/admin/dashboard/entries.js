// What is stored: found by text and by meaning; purged, or marked wrong.

import * as api from "./api.js";
import { h, action, bytes, card, confirm, dialog, empty, facts, field, fill, head, number, pill, select, span, table, time, toast } from "./ui.js";

const PAGE = 50;
const FRESH = { fresh: "good", stale: "warn", expired: "bad" };

export default async function entries(main, { signal, query }) {
  const inputs = { text: h("input", { type: "search", placeholder: "words of the question" }), near: h("input", { placeholder: "a question like it" }), category: select([["", "any"]]), tag: h("input", { placeholder: "any" }), source: h("input", { placeholder: "doc:42" }) };
  inputs.category.append(...(await api.categories(signal)).map((name) => h("option", { value: name }, name)));
  for (const [name, input] of Object.entries(inputs)) if (query.get(name)) input.value = query.get(name);
  const older = select([["", "any age"], ["1h", "older than 1 hour"], ["24h", "older than 1 day"], ["7d", "older than 7 days"]]);
  const list = h("div", { class: "stack" });
  const form = h("form", { class: "stack", onsubmit: (event) => { event.preventDefault(); load(0); } },
    h("div", { class: "row end" }, h("div", { class: "grow" }, field("Text", inputs.text)), h("div", { class: "grow" }, field("By meaning", inputs.near)), field("Category", inputs.category), field("Tag", inputs.tag), field("Source", inputs.source), h("button", { class: "primary" }, "Search")),
    h("details", {}, h("summary", {}, "Purge what matches"), h("div", { class: "stack" }, h("p", { class: "faint" }, "Takes category, tag, source, meaning and age; it counts first and asks before it does anything. Soft makes answers stale: they may be served while a new one is fetched. Hard removes them."), h("div", { class: "row end" }, field("Age", older), action("Purge soft…", () => purge(true)), action("Purge hard…", () => purge(false), "danger")))));
  main.append(head("Entries", "Every stored answer with its question, age and sources."), card(null, { "aria-label": "Search" }, form), card("Found", {}, list));

  const given = () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value));

  async function load(offset) {
    await fill(list, async () => {
      const { entries: found, total } = await api.get(`/semblance/entries${api.query({ ...given(), offset, limit: PAGE })}`, signal);
      if (!found.length) return empty("No entry matches.");
      const near = found.some((entry) => entry.similarity !== undefined);
      return [
        table(total === undefined ? `Entries ${offset + 1} to ${offset + found.length}, newest first` : `${number(total)} entries; ${offset + 1} to ${offset + found.length} shown`, [
          { name: "Question", wrap: true, head: true, cell: (entry) => h("button", { type: "button", class: "link", onclick: () => open(entry.id, () => load(offset)) }, entry.query ?? "(found by the same request only)") },
          near && { name: "Similarity", num: true, cell: (entry) => entry.similarity?.toFixed(3) },
          { name: "Category", cell: (entry) => entry.category },
          { name: "Model", tight: true, cell: (entry) => entry.model },
          { name: "Age", tight: true, cell: (entry) => span(entry.age_ms ?? Date.now() - entry.generated_at_ms) },
          { name: "State", cell: (entry) => (entry.freshness ? pill(entry.freshness, FRESH[entry.freshness]) : entry.invalidated_at_ms ? pill("stale", "warn") : pill("stored", "")) },
          { name: "Tags and sources", wrap: true, cell: (entry) => [...(entry.sources ?? []), ...entry.tags.filter((tag) => !(entry.sources ?? []).some((source) => source.startsWith(tag)))].join(", ") },
          { name: "Wordings", num: true, cell: (entry) => number(entry.aliases) },
          { name: "Size", num: true, cell: (entry) => bytes(entry.bytes) },
        ].filter(Boolean), found),
        h("div", { class: "row" }, h("button", { type: "button", disabled: offset === 0, onclick: () => load(Math.max(0, offset - PAGE)) }, "Newer"), h("button", { type: "button", disabled: found.length < PAGE, onclick: () => load(offset + PAGE) }, "Older")),
      ];
    });
  }

  async function purge(soft) {
    const { text, ...selector } = given();
    if (older.value) selector.older_than = older.value;
    if (text) throw new Error("A purge cannot go by text; use meaning, category, tag, source or age.");
    if (!Object.keys(selector).length) throw new Error("Fill in a category, tag, source, meaning or age first.");
    const { purged } = await api.post("/semblance/purge", { ...selector, soft, dry_run: true });
    if (!purged) return toast("Nothing matches: nothing would be purged.");
    const sure = await confirm(soft ? "Purge soft?" : "Purge hard?", [h("p", {}, `${number(purged)} ${purged === 1 ? "entry" : "entries"} would be ${soft ? "made stale" : "removed for good"}. Answers being generated now that match are covered too.`), facts(Object.entries(selector))], soft ? `Make ${number(purged)} stale` : `Remove ${number(purged)}`, soft ? "primary" : "danger");
    if (!sure) return undefined;
    const done = await api.post("/semblance/purge", { ...selector, soft });
    toast(`${number(done.purged)} ${soft ? "made stale" : "removed"}.`);
    return load(0);
  }

  await load(0);
  if (query.get("id")) open(query.get("id"), () => load(0));
}

function open(id, changed) {
  dialog(`Entry ${id}`, (sheet, close) => {
    fill(sheet, async () => {
      const entry = await api.get(`/semblance/entries/${id}`);
      const text = answerText(entry.answer);
      const act = (words, work, done, kind) => action(words, async () => { await work(); toast(done); close(); changed(); }, kind);
      const verdict = (name) => () => api.post("/semblance/feedback", { entry_id: id, verdict: name });
      return [
        facts([["Question", entry.query], ["Category", entry.category], ["Model", entry.model], ["Generated", time(entry.generated_at_ms)], ["Made stale", entry.invalidated_at_ms ? time(entry.invalidated_at_ms) : null], ["Tags", entry.tags.join(", ")], ["Sources", (entry.sources ?? []).join(", ")], ["Policies then", entry.policy_revision], ["Scope", h("code", {}, entry.scope.slice(0, 16))]]),
        h("div", { class: "stack" }, h("h3", {}, "Answer"), h("pre", { tabindex: "0" }, text)),
        h("div", { class: "row" },
          act("Mark wrong", verdict("wrong"), "Marked wrong: its other wordings are blocked."),
          act("Mark stale", verdict("stale"), "Marked stale."),
          act("Mark unsafe", verdict("unsafe"), "Marked unsafe.", "danger")),
        h("div", { class: "row" },
          act("Purge soft", () => api.post("/semblance/purge", { entry: id, soft: true }), "Made stale: served while a new one is fetched."),
          action("Purge hard…", async () => {
            if (!await confirm("Remove this entry?", [h("p", {}, "It is removed for good with its other wordings.")], "Remove")) return;
            await api.del(`/semblance/entries/${id}`);
            toast("Removed.");
            close();
            changed();
          }, "danger")),
      ];
    });
  });
}

/** The words of an answer, whichever protocol it came by. */
function answerText(answer) {
  const texts = [];
  const walk = (value, key) => {
    if (typeof value === "string") { if (["content", "text", "response"].includes(key)) texts.push(value); } else if (value && typeof value === "object") for (const [name, inner] of Object.entries(value)) walk(inner, Array.isArray(value) ? key : name);
  };
  walk(answer, "");
  return texts.join("\n\n") || JSON.stringify(answer, null, 2);
}
