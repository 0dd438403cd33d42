// The policies as files and in plain words: edited, checked, tried on recorded traffic, saved, and taken back.

import * as api from "./api.js";
import { h, action, brief, card, confirm, empty, field, fill, head, millis, notice, number, outcome, percent, pill, span, table, time, toast, trouble, usd } from "./ui.js";

export default async function policies(main, { signal, query }) {
  const nav = h("ul", { class: "files" });
  const place = h("div", { class: "stack" });
  const history = h("div", { class: "stack" });
  main.append(head("Policies", "One file for each kind of content: how fresh an answer must be, and what a stale or wrong one costs. An edit is checked as you type, can be tried on recorded traffic, and takes effect on the next request once it is saved."), h("div", { class: "split" }, card("Files", {}, nav), place), card("History", {}, history));
  const edited = new Map();
  let set;
  let current;

  async function load(keep) {
    set = await api.get("/semblance/policies/files", signal);
    nav.replaceChildren(...set.files.map((file) => h("li", {}, h("button", { type: "button", "aria-pressed": "false", onclick: () => open(file.file) }, h("span", {}, file.category || file.file), edited.has(file.file) ? pill("edited", "warn") : null))));
    open(keep ?? query.get("file") ?? set.files[0]?.file);
    await fill(history, versions);
  }

  function open(name) {
    const file = set.files.find((one) => one.file === name) ?? set.files[0];
    if (!file) return place.replaceChildren(empty("There are no policy files."));
    current = file.file;
    set.files.forEach((one, at) => nav.children[at].firstChild.setAttribute("aria-pressed", String(one.file === current)));
    return place.replaceChildren(editor(file));
  }

  function editor(file) {
    const text = h("textarea", { spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": `Text of ${file.file}`, wrap: "off", readonly: !set.editable });
    text.value = edited.get(file.file) ?? file.text;
    const gutter = h("pre", { class: "gutter", "aria-hidden": "true" });
    const words = h("div", { class: "stack", "aria-live": "polite" });
    const result = h("div", { class: "stack" });
    const save = h("button", { type: "button", class: "primary", disabled: true }, "Save…");
    const preview = action("Preview on traffic", () => tryOut(result), "");
    const revert = h("button", { type: "button", disabled: true }, "Undo the edit");
    let timer;

    const number_lines = (bad = new Set()) => gutter.replaceChildren(...text.value.split("\n").map((_, at) => h("span", { class: bad.has(at + 1) ? "bad-line" : null }, `${bad.has(at + 1) ? "● " : ""}${at + 1}\n`)));
    const changed = () => text.value !== file.text;
    const plain = (sentences) => h("div", { class: "stack" }, h("h3", {}, "In plain words"), h("ul", { class: "plain" }, (sentences ?? []).map((sentence) => h("li", {}, sentence))));

    async function check() {
      if (!changed()) {
        edited.delete(file.file);
        words.replaceChildren(plain(file.plain));
        number_lines();
        [save.disabled, revert.disabled] = [true, true];
        return;
      }
      edited.set(file.file, text.value);
      revert.disabled = false;
      try {
        const told = await api.post("/semblance/policies/check", { files: Object.fromEntries(edited) });
        const mine = told.problems.filter((problem) => problem.file.endsWith(file.file));
        number_lines(new Set(mine.map((problem) => problem.line)));
        save.disabled = !told.ok;
        words.replaceChildren(
          told.ok ? notice("good", told.changes.length ? "This edit changes:" : "This edit changes nothing but words.", h("ul", { class: "plain" }, told.changes.map((change) => h("li", {}, h("strong", {}, `${change.category}: `), change.plain ?? `${change.key}: ${change.from} → ${change.to}`))))
            : notice("bad", `${told.problems.length} ${told.problems.length === 1 ? "problem" : "problems"}: this cannot be saved.`, h("ul", { class: "plain" }, told.problems.map((problem) => h("li", {}, h("button", { type: "button", class: "link", onclick: () => jump(problem) }, `${problem.file.split("/").at(-1)}, line ${problem.line}`), `: ${problem.key ? `${problem.key}: ` : ""}${problem.message}`)))),
          told.ok ? plain(told.plain?.[file.category] ?? file.plain) : "");
      } catch (error) { words.replaceChildren(trouble(error)); }
    }

    function jump({ file: where, line }) {
      const other = set.files.find((one) => one.file !== file.file && where.endsWith(one.file));
      if (other) return open(other.file);
      const start = text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
      text.focus();
      text.setSelectionRange(start, start + (text.value.split("\n")[line - 1]?.length ?? 0));
      text.scrollTop = Math.max(0, (line - 4) * 20);
      return undefined;
    }

    text.addEventListener("input", () => { number_lines(); clearTimeout(timer); timer = setTimeout(check, 350); });
    text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
    revert.addEventListener("click", () => { text.value = file.text; check(); });
    save.addEventListener("click", async () => {
      const who = h("input", { value: localStorage.getItem("semblance-who") ?? "", required: true, autocomplete: "name" });
      const note = h("input", { placeholder: "why" });
      if (!await confirm("Save the policies?", [h("p", {}, `${edited.size === 1 ? "One file changes" : `${edited.size} files change`}: ${[...edited.keys()].join(", ")}. The next request goes by it; you can go back to any version.`), field("Who you are", who), field("Note", note)], "Save", "primary")) return;
      localStorage.setItem("semblance-who", who.value.trim());
      try {
        const saved = await api.put("/semblance/policies/files", { files: Object.fromEntries(edited), base_revision: set.revision, who: who.value.trim(), note: note.value.trim() });
        edited.clear();
        toast(`Saved as version ${saved.version}, revision ${saved.revision}.`);
        await load(file.file);
      } catch (error) { words.prepend(trouble(error)); }
    });
    number_lines();
    check();
    return card(h("div", { class: "row" }, h("h2", {}, file.file), set.editable ? null : pill("built in, read only", "warn")), {},
      set.editable ? null : notice("warn", "This gateway runs on its built-in policies.", "To edit them, copy the shipped policies folder, start the gateway with --policies DIR and come back."),
      h("div", { class: "editor" }, gutter, text), h("div", { class: "row" }, save, preview, revert), words, result);
  }

  async function tryOut(place) {
    const bar = h("progress", { max: 1, "aria-label": "Progress of the preview" });
    const state = h("p", { class: "faint", role: "status" }, "Starting");
    const stop = new AbortController();
    const ends = AbortSignal.any([signal, stop.signal]);
    place.replaceChildren(h("h3", {}, "Preview on recorded traffic"), bar, state, h("div", {}, h("button", { type: "button", onclick: () => stop.abort() }, "Cancel")));
    let job;
    try {
      ({ job } = await api.post("/semblance/simulate", { files: Object.fromEntries(edited) }));
      const { report } = await api.watchJob(`/semblance/simulate/${job}`, (now) => { bar.max = now.total || 1; bar.value = now.done; state.textContent = `${number(now.done)} of ${number(now.total)} requests`; }, ends);
      place.replaceChildren(h("div", { class: "row spread" }, h("h3", {}, "Preview on recorded traffic"), h("a", { href: `/semblance/simulate/${job}/report.html`, target: "_blank", rel: "noopener" }, "Full report")), ...simulated(report));
    } catch (error) {
      // Nobody waits for it any more, and another one may be wanted: it can begin when this one has ended.
      if (ends.aborted && job) {
        state.textContent = "Cancelling";
        await api.del(`/semblance/simulate/${job}`).then(() => api.watchJob(`/semblance/simulate/${job}`, () => {}, signal)).catch(() => {});
      }
      place.replaceChildren(...(ends.aborted ? [] : [h("h3", {}, "Preview on recorded traffic"), trouble(error)]));
    }
  }

  async function versions() {
    const { versions: all } = await api.get("/semblance/policies/history", signal);
    if (!all.length) return empty("No versions yet: the first is kept when a gateway with a policy directory starts.");
    return table("Every set of policies that has been in force, newest first", [
      { name: "Version", head: true, cell: (version) => `${version.version}` },
      { name: "When", cell: (version) => time(version.at_ms) },
      { name: "Who", cell: (version) => version.who || version.by },
      { name: "Note", wrap: true, cell: (version) => version.note ?? "" },
      { name: "Changed", wrap: true, cell: (version) => listed(version.changed ?? []) },
      { name: "Revision", cell: (version) => h("code", {}, version.revision) },
      { name: "Action", act: true, cell: (version) => (version.revision === set.revision ? pill("in force", "good") : action("Go back to this", () => restore(version))) },
    ], all);
  }

  async function restore(version) {
    const { changes } = await api.get(`/semblance/policies/history/${version.version}`);
    if (!await confirm(`Go back to version ${version.version}?`, [h("p", {}, `Every policy file becomes what it was ${new Date(version.at_ms).toLocaleString()}. Today's set stays in the history.`), changes?.length ? h("ul", { class: "plain" }, changes.slice(0, 12).map((change) => h("li", {}, `${change.category}: ${change.plain ?? change.key}`))) : ""], "Go back", "primary")) return;
    const done = await api.post("/semblance/policies/restore", { version: version.version, who: localStorage.getItem("semblance-who") ?? "", note: `back to version ${version.version}` });
    edited.clear();
    toast(`Version ${version.version} is in force again, as version ${done.version}.`);
    await load(current);
  }

  try { await load(); } catch (error) {
    if (error.name === "AbortError") return;
    place.replaceChildren(trouble(error));
    const { policies: list } = await api.get("/semblance/policies", signal);
    nav.replaceChildren(...list.map((policy) => h("li", {}, policy.category)));
  }
}

const listed = (files) => (files.length > 4 ? h("details", {}, h("summary", {}, `${number(files.length)} files`), files.join(", ")) : files.join(", "));

const ROWS = [
  ["Requests", (side) => number(side.requests)], ["From the cache", (side) => percent(side.hit_share)], ["Served stale", (side) => percent(side.stale_share)],
  ["Calls to the model", (side) => number(side.upstream_calls)], ["Cost of those", (side) => usd(side.cost_usd)], ["Tokens", (side) => number(side.tokens)],
  ["Median wait", (side) => millis(side.latency_ms?.p50)], ["99 of 100 within", (side) => millis(side.latency_ms?.p99)], ["Wrong hits expected", (side) => number(side.expected_wrong_hits)],
];

const side = ({ outcome: label, reason, age_ms: age }) => h("span", {}, outcome(label), ` ${brief(reason)}${age ? `, ${span(age)} old` : ""}`);
const arrow = ({ today, proposed }, of) => (of(today) === of(proposed) ? of(today) : `${of(today)} → ${of(proposed)}`);

export function simulated(report) {
  const moved = (report.categories ?? []).filter(({ today, proposed }) => JSON.stringify(today) !== JSON.stringify(proposed));
  if (!report.requests) return [empty("There is no recorded traffic to try it on. Start the gateway with --traffic-record true and come back when there is some.")];
  return [
    table(`${number(report.requests)} requests`, [{ name: "Figure", head: true, cell: ([name]) => name }, { name: "Today", num: true, cell: ([, value]) => value(report.today) }, { name: "Proposed", num: true, cell: ([, value]) => value(report.proposed) }], ROWS),
    moved.length ? table("By category, where something changes", [
      { name: "Category", head: true, cell: (one) => one.category },
      { name: "From the cache", num: true, cell: (one) => arrow(one, (side) => percent(side.hit_share)) },
      { name: "Served stale", num: true, cell: (one) => arrow(one, (side) => percent(side.stale_share)) },
      { name: "Calls to the model", num: true, cell: (one) => arrow(one, (side) => number(side.upstream_calls)) },
      { name: "Cost", num: true, cell: (one) => arrow(one, (side) => usd(side.cost_usd)) },
    ], moved) : "",
    report.notes?.length ? h("ul", { class: "plain faint" }, report.notes.map((note) => h("li", {}, note))) : "",
    report.changes.length ? table(`${number(report.changes_total)} decisions would change${report.changes_total > report.changes.length ? `; the first ${report.changes.length}` : ""}`, [
      { name: "When", cell: (change) => time(change.at_ms) },
      { name: "Question", head: true, wrap: true, cell: (change) => change.query ?? "–" },
      { name: "Category", cell: (change) => change.category },
      { name: "Today", cell: (change) => side(change.today) },
      { name: "Proposed", cell: (change) => side(change.proposed) },
    ], report.changes.slice(0, 50)) : empty("No decision would change."),
  ];
}
