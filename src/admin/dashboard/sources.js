// The documents that answers rest on: which answers, and what happens when a document changes.

import * as api from "./api.js";
import { h, action, card, confirm, dialog, empty, field, fill, head, number, span, table, time, toast } from "./ui.js";

export default async function sources(main, { signal }) {
  const [name, version, hard, text] = [h("input", { required: true, placeholder: "doc:42" }), h("input", { required: true, placeholder: "v8" }), h("input", { type: "checkbox" }), h("input", { type: "search", placeholder: "part of a name" })];
  const list = h("div", { class: "stack" });
  const bans = h("div", { class: "stack" });
  const form = h("form", { class: "row end", onsubmit: async (event) => { event.preventDefault(); await update(name.value.trim(), version.value.trim(), hard.checked); } }, h("div", { class: "grow" }, field("Source", name)), field("New version", version), h("label", { class: "check" }, hard, "remove at once"), h("button", { class: "primary" }, "Update"));
  main.append(head("Sources", "Documents that apps name with x-semblance-sources. When one changes, everything built on an older version becomes stale, or goes; answers being generated now are covered too."),
    card("A document has changed", {}, form), card("Known sources", {}, h("form", { class: "row end", onsubmit: (event) => { event.preventDefault(); load(); } }, h("div", { class: "grow" }, field("Find", text)), h("button", {}, "Show")), list), card("Bans by meaning", {}, h("p", { class: "faint" }, "A purge by meaning stays in force until no answer that is older can be fresh any more."), bans));

  async function update(source, next, remove) {
    try {
      if (remove && !await confirm("Remove what depends on it?", [h("p", {}, `Every answer built on another version of ${source} than ${next} is removed for good.`)], "Remove")) return;
      const { affected } = await api.put(`/semblance/sources/${encodeURIComponent(source)}`, { version: next, hard: remove });
      toast(`${source} is at ${next}: ${number(affected)} ${affected === 1 ? "answer" : "answers"} ${remove ? "removed" : "made stale"}.`);
      await load();
    } catch (error) { toast(error.message); }
  }

  const load = () => fill(list, async () => {
    const { sources: all } = await api.get(`/semblance/sources${api.query({ text: text.value.trim(), limit: 200 })}`, signal);
    if (!all.length) return empty("No sources are known. Apps name them on requests: x-semblance-sources: doc:42@v7.");
    return table("Sources with the version last told", [
      { name: "Source", head: true, wrap: true, cell: (source) => h("button", { type: "button", class: "link", onclick: () => open(source.source) }, source.source) },
      { name: "Version", cell: (source) => source.version ?? "–" },
      { name: "Updated", cell: (source) => (source.updated_at_ms ? time(source.updated_at_ms) : "–") },
      { name: "Answers", num: true, cell: (source) => number(source.entries) },
    ], all);
  });

  const loadBans = () => fill(bans, async () => {
    const { bans: all } = await api.get("/semblance/bans", signal);
    if (!all.length) return empty("No bans are in force.");
    return table(`${number(all.length)} in force`, [
      { name: "Near", head: true, wrap: true, cell: (ban) => ban.near ?? "(sealed)" },
      { name: "Radius", num: true, cell: (ban) => ban.radius },
      { name: "Category", cell: (ban) => ban.category ?? "any" },
      { name: "Kind", cell: (ban) => ban.hardness },
      { name: "Answers until", cell: (ban) => (ban.until_ms ? time(ban.until_ms) : "–") },
      { name: "In force until", cell: (ban) => (ban.expires_ms ? time(ban.expires_ms) : "–") },
      { name: "Action", act: true, cell: (ban) => action("Lift", async () => { await api.del(`/semblance/bans/${ban.id}`); toast("Lifted."); await loadBans(); }) },
    ], all);
  });

  function open(source) {
    dialog(source, (sheet, close) => fill(sheet, async () => {
      const one = await api.get(`/semblance/sources/${encodeURIComponent(source)}`, signal);
      return [
        one.dependents?.length ? table(one.dependents.length === 1 ? "One answer rests on it" : `${number(one.dependents.length)} answers rest on it`, [
          { name: "Question", head: true, wrap: true, cell: (entry) => h("a", { href: `#/entries?id=${entry.id}`, onclick: close }, entry.query ?? entry.id) },
          { name: "Age", cell: (entry) => span(Date.now() - entry.generated_at_ms) },
          { name: "Built on", cell: (entry) => (entry.sources ?? []).join(", ") },
        ], one.dependents) : empty("No stored answer rests on it."),
        h("div", { class: "row" }, action("Forget it and remove its answers…", async () => {
          if (!await confirm(`Forget ${source}?`, [h("p", {}, "Every answer that rests on it is removed for good.")], "Forget")) return;
          await api.del(`/semblance/sources/${encodeURIComponent(source)}`);
          toast(`${source} is forgotten.`);
          close();
          await load();
        }, "danger")),
      ];
    }));
  }

  await Promise.all([load(), loadBans()]);
}
