// What became of each request: live, and as recorded; near misses with what refused them.

import * as api from "./api.js";
import { h, action, brief, card, dialog, empty, facts, field, fill, head, millis, notice, number, outcome, pill, select, span, table, time, toast, usd } from "./ui.js";

const OUTCOMES = [["", "All outcomes"], "hit-exact", "hit-semantic", "stale", "miss", "collapsed", "bypass"];
const SHOWN_LIVE = 50;
const QUIET_MS = 5000;

export default async function decisions(main, { signal, query }) {
  const [what, category, text, refused] = [select(OUTCOMES), select([["", "All categories"]]), h("input", { placeholder: "words of a question", type: "search" }), h("input", { type: "checkbox" })];
  refused.checked = query.get("refused") === "1";
  const list = h("div", { class: "stack" });
  const feed = h("div", { class: "stack" });
  api.categories(signal).then((names) => category.append(...names.map((name) => h("option", { value: name }, name))));
  const state = h("span", { class: "faint", role: "status" }, "connecting");
  const said = h("p", { class: "unseen", role: "log", "aria-live": "polite", "aria-label": "Latest request" });
  let paused = false;
  const pause = h("button", { type: "button", "aria-pressed": "false" }, "Pause");
  pause.addEventListener("click", () => { paused = !paused; pause.textContent = paused ? "Go on" : "Pause"; pause.setAttribute("aria-pressed", String(paused)); });
  const form = h("form", { class: "row end", onsubmit: (event) => { event.preventDefault(); load(); } }, field("Outcome", what), field("Category", category), h("div", { class: "grow" }, field("Question", text)), h("label", { class: "check" }, refused, "near misses only"), h("button", { class: "primary" }, "Show"));
  main.append(head("Decisions", "Every request and why it was served, or not. A near miss is a question that was close to a cached one and was refused: the slot or the probability says why."),
    card(h("div", { class: "row spread grow" }, h("div", { class: "row" }, h("h2", {}, "Live"), state), pause), {}, feed, said),
    card("Recorded", {}, form, list));

  const latest = [];
  // Read out now and then: each of a busy gateway's requests would be a flood.
  let saidAt = 0;
  function say(record) {
    if (Date.now() - saidAt < QUIET_MS) return;
    saidAt = Date.now();
    said.textContent = `${record.outcome}: ${record.query ?? "words not kept"}, ${record.category || "no category"}`;
  }
  feed.append(empty("Requests appear here as they end."));
  api.listen("/semblance/traffic/live", signal, (event, data) => {
    if (paused || event !== "request") return;
    latest.unshift(JSON.parse(data));
    latest.length = Math.min(latest.length, SHOWN_LIVE);
    if (!feed.scheduled) { feed.scheduled = true; requestAnimationFrame(() => { feed.scheduled = false; feed.replaceChildren(rows(latest.slice(0, 10), "The last ten requests, newest first")); say(latest[0]); }); }
  }, (now) => { state.textContent = { live: "connected", waiting: "connecting again", off: "not available" }[now]; });

  async function load(before, into = list) {
    await fill(into, async () => {
      const filter = { outcome: what.value, category: category.value, text: text.value.trim(), refused: refused.checked ? 1 : "", before: before ?? "", limit: 50 };
      const { enabled, records, next } = await api.get(`/semblance/traffic${api.query(filter)}`, signal);
      const off = enabled ? null : notice("warn", "Requests are not being recorded.", "Start the gateway with --traffic-record true (SEMBLANCE_TRAFFIC_RECORD, traffic.record) to keep decisions. The live feed above works without.");
      const more = h("div", { class: "stack" });
      return [before ? null : off, records.length ? rows(records, before ? "Older requests" : "Requests, newest first") : before ? null : empty(enabled ? "No request matches." : "Nothing is recorded."), next ? [action("Show older ones", () => load(next, more)), more] : null];
    });
  }
  await load();
}

function rows(records, caption) {
  return table(caption, [
    { name: "Time", tight: true, cell: (record) => time(record.at_ms) },
    { name: "Outcome", cell: (record) => outcome(record.outcome) },
    { name: "Question", head: true, wrap: true, cell: (record) => h("button", { type: "button", class: "link", onclick: () => open(record) }, record.query ?? `${record.model || record.family || "request"} – words not kept`) },
    { name: "Category", cell: (record) => record.category || "–" },
    { name: "Why", cell: (record) => why(record) },
    { name: "Took", num: true, cell: (record) => millis(record.latency_us / 1000) },
  ], records);
}

function why(record) {
  if (record.reason === "guard-rejected" && record.slot) return h("span", {}, pill(`differs in ${record.slot}`, "warn"));
  if (record.p !== undefined && record.p !== null) return h("span", { class: "num" }, `p ${record.p.toFixed(3)} ${record.p >= record.bar ? "≥" : "<"} ${record.bar.toFixed(3)}`);
  return brief(record.reason);
}

const WORDS = {
  exact: "The same question was asked before: the stored answer was served.",
  alias: "This wording was accepted earlier for a stored answer.",
  semantic: "A stored question means the same: guard and verifier accepted it.",
  empty: "Nothing near enough was stored, so the model was asked.",
  "below-threshold": "The nearest stored question was not near enough.",
  "guard-rejected": "A stored question is close, but differs in something that changes the answer.",
  "verifier-rejected": "A stored question is close, but not surely the same: its probability is below the bar.",
  expired: "There was an answer, and it is too old.",
  "zero-ttl": "Its category is never cached.",
  blocked: "This pairing was found wrong earlier and is blocked.",
  tripped: "A hit was found and withheld: the category has too many wrong hits.",
  "exact-only": "Only the very same question may be served, and it was not stored.",
};

export function open(record) {
  dialog("Decision", (sheet, close) => {
    const hit = ["hit-exact", "hit-semantic", "stale"].includes(record.outcome);
    const entry = record.entry ?? record.candidate;
    const near = entry ? h("span", {}, `entry ${entry}`) : null;
    if (entry) api.get(`/semblance/entries/${entry}`).then(({ query }) => { if (query) near.textContent = query; }, () => { near.textContent = `entry ${entry}, which is no longer stored`; });
    sheet.append(
      h("p", {}, outcome(record.outcome), " ", WORDS[record.reason] ?? `Reason: ${record.reason}.`),
      facts([
        ["Question", record.query ?? h("span", { class: "faint" }, "its words are not kept (the category's policy says traffic_text = true to keep them)")],
        [hit ? "Stored question" : "Nearest stored question", near], ["Similarity", record.similarity?.toFixed(4)],
        ["p(same answer)", record.p !== null && record.p !== undefined ? `${record.p.toFixed(4)} against a bar of ${record.bar.toFixed(4)}` : null],
        ["Guard", record.slot ? `${record.slot}${record.detail ? `: ${record.detail}` : ""}` : null],
        ["Category", record.category || "–"], ["Model", record.model || "–"], ["Protocol", record.family], ["Status", String(record.status)],
        ["Came at", time(record.at_ms)], ["Began after", millis(record.latency_us / 1000)], ["Model took", record.answer_ms ? millis(record.answer_ms) : null],
        ["Age of the answer", record.age_ms !== null && record.age_ms !== undefined ? span(record.age_ms) : null],
        ["Tokens", record.output_tokens !== null && record.output_tokens !== undefined ? `${number(record.input_tokens)} in, ${number(record.output_tokens)} out` : null],
        ["Saved", record.saved_usd ? usd(record.saved_usd) : null],
        ["Policies", record.policy_revision], ["Request", h("code", {}, record.request_id)],
      ]));
    const buttons = h("div", { class: "row" });
    if (hit) for (const [verdict, words] of [["wrong", "Mark wrong"], ["stale", "Mark stale"], ["unsafe", "Mark unsafe"]]) {
      buttons.append(action(words, async () => { await api.post("/semblance/feedback", { request_id: record.request_id, verdict }); toast(`Marked ${verdict}.`); close(); }, verdict === "unsafe" ? "danger" : ""));
    }
    if (record.query && entry) buttons.append(action("Add as a fixture case", async () => addCase(record, entry, close)));
    if (entry) buttons.append(h("a", { href: `#/entries?id=${entry}`, onclick: close }, "Open the entry"));
    sheet.append(buttons);
  });
}

async function addCase(record, entry, close) {
  const { query: seed, principal } = await api.get(`/semblance/entries/${entry}`);
  // Whose words they are, so that an erasure of that person takes the case along.
  const of = [...new Set([record.principal, principal].filter(Boolean))];
  if (!seed) throw new Error("The entry has no question that can be kept.");
  close();
  dialog("Add a fixture case", (sheet, done) => {
    const [expect, kind] = [select([["miss", "must miss: the answers differ"], ["hit", "must hit: the same answer"]]), h("input", { value: record.slot ?? "desk", required: true })];
    expect.value = record.outcome === "miss" ? "miss" : "hit";
    const form = h("form", { class: "stack" }, facts([["Stored question", seed], ["Asked", record.query]]), field("Expected", expect), field("Kind", kind), h("div", {}, h("button", { class: "primary" }, "Add")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const added = await api.post("/semblance/fixtures/cases", { file: "desk.jsonl", case: { id: `desk-${record.request_id}`, seed, ask: record.query, expect: expect.value, kind: kind.value.trim(), category: record.category, of } });
        toast(`Added to ${added.file}: ${added.cases} cases.`);
        done();
      } catch (error) { toast(error.message); }
    });
    sheet.append(form);
  });
}
