// Each kind of content: how long its answers live, how sure a hit must be, and how it does.

import * as api from "./api.js";
import * as chart from "./charts.js";
import { letOn } from "./overview.js";
import { h, action, card, fill, head, number, percent, pill, span, toMs, usd } from "./ui.js";

const HARM = { annoying: "", harmful: "warn", liable: "bad" };

export default async function categories(main, { signal }) {
  const grid = h("div", { class: "grid" });
  main.append(head("Categories", "Each kind of content with its freshness, its budget of wrong answers and what it does. A category's rules are edited under Policies."), legend(), grid);
  const load = () => fill(grid, async () => {
    const [{ policies }, { categories: audits, shadow }, ledger] = await Promise.all([api.get("/semblance/policies", signal), api.get("/semblance/audits", signal), api.get("/semblance/ledger?by=category", signal).catch(() => ({ rows: [] }))]);
    return policies.map((policy) => one(policy, audits.find((audit) => audit.category === policy.category), ledger.rows.find((row) => row.category === policy.category), shadow, signal, load));
  });
  await load();
}

const legend = () => h("ul", { class: "legend" }, [["c-ttl", "fresh"], ["c-swr", "stale, while a new answer is fetched"], ["c-sie", "stale, only when the model fails"]].map(([name, words]) => {
  const item = h("li", {});
  const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  swatch.setAttribute("viewBox", "0 0 10 10");
  swatch.setAttribute("aria-hidden", "true");
  const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  box.setAttribute("width", "10"); box.setAttribute("height", "10"); box.setAttribute("rx", "2"); box.setAttribute("class", name);
  swatch.append(box);
  item.append(swatch, words);
  return item;
}));

function one(policy, audit, row, shadow, signal, again) {
  const [ttl, revalidate, error] = [policy.ttl, policy.stale_while_revalidate, policy.stale_if_error].map(toMs);
  const words = ttl === 0 ? "Never cached: every question goes to the model." : [`Fresh for ${span(ttl)}`, revalidate ? `${span(revalidate)} more while a new answer is fetched` : "", error ? `${span(error)} more when the model fails` : ""].filter(Boolean).join("; ") + ".";
  const hits = row ? row.hits_exact + row.hits_semantic + row.stale : 0;
  const asked = row ? row.requests - row.bypass : 0;
  const trend = h("div", { class: "stack" });
  const since = Date.now() - 7 * 86400000;
  api.get(`/semblance/ledger${api.query({ by: "category", category: policy.category, since_ms: since, bucket_ms: 3600000 })}`, signal).then(({ series }) => {
    const points = series.filter((point) => point.requests > 0).map((point) => point.hits / point.requests);
    if (points.length < 2) return;
    trend.replaceChildren(h("span", { class: "label" }, "Hit share by the hour, seven days"), chart.spark(points, `Hit share of ${policy.category}`));
  }).catch(() => {});
  const semantic = policy.tier === "semantic" && ttl > 0;
  return card(h("h2", {}, policy.category), {},
    h("p", { class: "faint" }, policy.summary ?? ""),
    h("div", { class: "row" }, pill(policy.harm, HARM[policy.harm]), pill(semantic ? "reworded questions too" : "same question only"), pill(policy.scope === "shared" ? "shared by everybody" : policy.scope === "tenant" ? "shared in the tenant" : "each credential apart"), audit?.tripped ? pill("tripped", "bad") : null, shadow ? pill("shadow mode", "warn") : null),
    h("div", { class: "stack" }, h("span", { class: "label" }, "Freshness"), chart.freshness(ttl, revalidate, error, words), h("p", {}, words)),
    semantic && audit ? h("div", { class: "stack" }, h("span", { class: "label" }, "Wrong hits: 95 % bound against the budget"), chart.gauge(audit.bound, audit.budget, audit.audited > 0, `Bound ${percent(audit.bound)}, budget ${percent(audit.budget)}`),
      h("p", {}, audit.audited ? `${number(audit.wrong)} of ${number(audit.audited)} audited hits were wrong: at most ${percent(audit.bound)}; ${percent(audit.budget)} allowed.` : `Nothing audited yet; ${percent(audit.budget)} allowed.`, audit.reported ? ` People reported ${number(audit.reported)}.` : "")) : null,
    row ? h("div", { class: "stack" }, h("span", { class: "label" }, "Last seven days"), h("p", { class: "num" }, `${number(row.requests)} ${row.requests === 1 ? "request" : "requests"}, ${asked > 0 ? `${percent(hits / asked)} from the cache, ${usd(row.net_usd)} saved net.` : "none of which may be cached."}`), trend) : h("p", { class: "faint" }, "No requests in the last seven days."),
    audit?.tripped ? h("div", {}, action("Serve by meaning again", async () => { if (await letOn(policy.category)) await again(); })) : null);
}
