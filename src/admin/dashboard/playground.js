// A question tried against the cache, or against another question, with every step of the decision.

import * as api from "./api.js";
import { h, brief, card, empty, facts, field, fill, head, notice, pill, select, span, table } from "./ui.js";

export default async function playground(main, { signal }) {
  const ask = h("textarea", { required: true, placeholder: "How do I get my money back?" });
  const cached = h("textarea", { placeholder: "What is the refund policy? (leave empty to ask the cache)" });
  const category = select([["", "told from the question"]]);
  const result = h("div", { class: "stack", "aria-live": "polite" }, empty("Nothing is sent to a model and nothing is stored: this only explains."));
  const form = h("form", { class: "card", onsubmit: (event) => { event.preventDefault(); run(); } }, h("div", { class: "two" }, field("Question asked", ask), field("Cached question to compare with", cached)), h("div", { class: "row end" }, field("Category", category), h("button", { class: "primary" }, "Explain")));
  main.append(head("Playground", "Type a question and see what the cache would do with it, and why. With a second question, see whether both would share an answer."), form, card("Explanation", {}, result));
  api.categories(signal).then((names) => category.append(...names.map((name) => h("option", { value: name }, name))));

  function run() {
    return fill(result, async () => {
      const question = { ask: ask.value.trim() };
      if (cached.value.trim()) question.cached = cached.value.trim();
      if (category.value) question.category = category.value;
      const told = await api.post("/semblance/explain", question);
      return question.cached ? pair(told) : against(told);
    });
  }
}

const verdict = (hit) => (hit ? pill("would be served", "good") : pill("would go to the model", "warn"));

function steps(judgement) {
  const guard = judgement.guard ?? {};
  return [
    ["Similarity", judgement.similarity?.toFixed(4)],
    ["Contrast guard", guard.verdict === "reject" ? h("span", {}, pill("refuses", "bad"), ` ${guard.slot}${guard.detail ? `: ${guard.detail}` : ""}`) : h("span", {}, pill("passes", "good"), guard.slot ? ` raises the bar for ${guard.slot}` : "")],
    ["p(same answer)", judgement.p_same === null || judgement.p_same === undefined ? "not asked: a step before it decided" : judgement.p_same.toFixed(4)],
    ["Bar", judgement.bar?.toFixed(4)],
    ["Margin", judgement.margin === null || judgement.margin === undefined ? null : `${judgement.margin >= 0 ? "+" : ""}${judgement.margin.toFixed(4)}`],
    ["Reason", brief(judgement.reason)],
  ];
}

function pair(told) {
  return [h("p", {}, verdict(told.decision === "hit"), " ", told.decision === "hit" ? "Both questions would share an answer." : "The two questions would not share an answer."),
    told.personal_data ? notice("warn", `The question holds personal data (${told.personal_data}).`, "It is matched by the very same question of the same credential only, or not at all, as the policy says.") : null,
    facts([["Category", `${told.category} (${told.category_by})`], ...steps(told), ["Policies", told.policy_revision]])];
}

function against(told) {
  const served = told.candidates.find((candidate) => candidate.decision === "hit" && !candidate.withheld);
  return [
    h("p", {}, verdict(told.decision === "hit"), " ", told.decision === "hit" ? `The answer to “${served?.query ?? ""}” would be served.` : told.candidates.length ? "No stored question is surely the same." : "Nothing near enough is stored."),
    told.personal_data ? notice("warn", `The question holds personal data (${told.personal_data}).`) : null,
    told.category ? facts([["Category", `${told.category}${told.category_by ? ` (${told.category_by})` : ""}`], ["Freshness", told.freshness ?? null], ["Policies", told.policy_revision]]) : null,
    told.candidates.length ? table("The nearest stored questions, nearest first. Candidates of every credential are shown here; a request sees those of its own scope only.", [
      { name: "Stored question", head: true, wrap: true, cell: (candidate) => h("a", { href: `#/entries?id=${candidate.entry}` }, candidate.query) },
      { name: "Category", cell: (candidate) => candidate.category },
      { name: "Similarity", num: true, cell: (candidate) => candidate.similarity.toFixed(3) },
      { name: "Guard", cell: (candidate) => (candidate.guard.verdict === "reject" ? h("span", {}, pill("refuses", "bad"), ` ${candidate.guard.slot}${candidate.guard.detail ? `: ${candidate.guard.detail}` : ""}`) : pill("passes", "good")) },
      { name: "p", num: true, cell: (candidate) => (candidate.p_same === null || candidate.p_same === undefined ? "–" : candidate.p_same.toFixed(3)) },
      { name: "Bar", num: true, cell: (candidate) => candidate.bar.toFixed(3) },
      { name: "Age", cell: (candidate) => (candidate.age_ms === undefined ? "" : h("span", {}, span(candidate.age_ms), candidate.freshness ? ` – ${candidate.freshness}` : "")) },
      { name: "Verdict", cell: (candidate) => (candidate.withheld ? pill(`withheld: ${brief(candidate.withheld)}`, "warn") : candidate.decision === "hit" ? pill("accepted", "good") : pill(brief(candidate.reason))) },
    ], told.candidates) : empty("No neighbours above the floor of similarity."),
  ];
}
