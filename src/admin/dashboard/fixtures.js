// Near-miss cases, run against the real matcher: the number that says whether hits can be trusted.

import * as api from "./api.js";
import { h, action, card, empty, field, fill, head, notice, number, percent, select, table, tile, toast, trouble } from "./ui.js";

export default async function fixtures(main, { signal }) {
  const list = h("div", { class: "stack" });
  const report = h("div", { class: "stack", "aria-live": "polite" }, empty("Choose files and run them: each case stores its question in an empty cache of its own, then asks."));
  main.append(head("Fixtures", "Cases that must hit and cases that must miss. Run them before and after an edit; add the near misses that you meet."), card("Files", {}, list), card("Report", {}, report), card("Add a case", {}, form()));

  const load = () => fill(list, async () => {
    const { directory, files } = await api.get("/semblance/fixtures", signal);
    if (!files.length) return empty("There are no fixture files yet; add a case below, or start the gateway with --fixtures DIR.");
    const boxes = files.map((file) => h("input", { type: "checkbox", value: file.file, checked: true }));
    const pool = h("input", { type: "checkbox" });
    return [
      h("p", { class: "faint" }, directory ? `From ${directory}` : ""),
      table("Fixture files", [
        { name: "Run", cell: (file) => { const box = boxes[files.indexOf(file)]; box.setAttribute("aria-label", `Run ${file.file}`); return box; } },
        { name: "File", head: true, cell: (file) => file.file },
        { name: "Cases", num: true, cell: (file) => number(file.cases) },
        { name: "Near misses", num: true, cell: (file) => number(file.near_misses) },
        { name: "Paraphrases", num: true, cell: (file) => number(file.paraphrases) },
      ], files),
      h("div", { class: "row" }, action("Run", () => run(boxes.filter((box) => box.checked).map((box) => box.value), pool.checked), "primary"), h("label", { class: "check" }, pool, "all in one pool: the nearest may belong to another case")),
    ];
  });

  async function run(files, pool) {
    if (!files.length) throw new Error("Choose at least one file.");
    const bar = h("progress", { max: 1, "aria-label": "Progress of the run" });
    const state = h("p", { class: "faint" }, "Starting");
    report.replaceChildren(bar, state);
    try {
      const { job } = await api.post("/semblance/fixtures/run", { files, pool });
      const done = await api.watchJob(`/semblance/fixtures/run/${job}`, (now) => { bar.max = now.total || 1; bar.value = now.done; state.textContent = `${number(now.done)} of ${number(now.total)} cases`; }, signal);
      show(done.report);
    } catch (error) { report.replaceChildren(trouble(error)); }
  }

  function show(told) {
    const kinds = Object.entries(told.by_kind ?? {});
    report.replaceChildren(
      h("div", { class: "tiles" },
        tile("Paraphrases hit", percent(told.paraphrases ? told.paraphrases_hit / told.paraphrases : null), `${number(told.paraphrases_hit)} of ${number(told.paraphrases)}`),
        tile("Near misses served", percent(told.near_misses ? told.near_misses_served / told.near_misses : null), `${number(told.near_misses_served)} of ${number(told.near_misses)}: these would be wrong`),
        tile("Wrong share of hits", percent(told.wrong_hit_share), `at most ${percent(told.wrong_hit_bound_95)} with 95 % certainty`)),
      told.served?.length ? table("Served although they must not be", caseColumns, told.served) : notice("good", "No near miss was served."),
      told.refused?.length ? table(`Refused although they may be served${told.refused.length > 30 ? `; the first 30 of ${number(told.refused.length)}` : ""}`, caseColumns, told.refused.slice(0, 30)) : "",
      kinds.length ? table("By kind", [
        { name: "Kind", head: true, cell: ([kind]) => kind },
        { name: "Paraphrases hit", num: true, cell: ([, one]) => `${number(one.paraphrases_hit)} of ${number(one.paraphrases)}` },
        { name: "Near misses served", num: true, cell: ([, one]) => `${number(one.near_misses_served)} of ${number(one.near_misses)}` },
      ], kinds) : "");
  }

  function form() {
    const [seed, ask, expect, kind] = [h("textarea", { required: true }), h("textarea", { required: true }), select([["miss", "must miss: the answers differ"], ["hit", "must hit: the same answer"]]), h("input", { value: "desk", required: true })];
    return h("form", { class: "stack", onsubmit: async (event) => {
      event.preventDefault();
      try {
        const added = await api.post("/semblance/fixtures/cases", { file: "desk.jsonl", case: { id: `desk-${Date.now().toString(36)}`, seed: seed.value.trim(), ask: ask.value.trim(), expect: expect.value, kind: kind.value.trim() } });
        toast(`Added to ${added.file}: ${added.cases} cases.`);
        [seed.value, ask.value] = ["", ""];
        await load();
      } catch (error) { toast(error.message); }
    } }, h("div", { class: "two" }, field("Stored question", seed), field("Question asked", ask)), h("div", { class: "row end" }, field("Expected", expect), field("Kind", kind), h("button", { class: "primary" }, "Add")));
  }

  await load();
}

const caseColumns = [
  { name: "Case", head: true, cell: (one) => one.id },
  { name: "Stored", wrap: true, cell: (one) => one.seed ?? "" },
  { name: "Asked", wrap: true, cell: (one) => one.ask ?? "" },
  { name: "Why", wrap: true, cell: (one) => one.why ?? one.reason ?? "" },
];
