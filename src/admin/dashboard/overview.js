// What happens now, what it saved, and whether all is well.

import * as api from "./api.js";
import * as chart from "./charts.js";
import { h, action, bytes, card, confirm, empty, fill, head, millis, number, percent, pill, repeat, short, table, tile, time, toast, trouble, usd } from "./ui.js";

export default async function overview(main, { signal }) {
  const tiles = h("div", { class: "tiles" });
  const traffic = h("div", { class: "stack" });
  const health = h("div");
  const trips = h("div");
  const savings = h("div");
  main.append(head("Overview", "What the cache does now, what it saved, and how sure it is of its answers."), tiles,
    card("Requests by minute, last hour", {}, chart.legend(), traffic),
    h("div", { class: "grid" }, card("Health", {}, health), card("Trips", {}, trips)),
    card("Savings by category, last seven days", {}, savings));
  let ledgerAt = 0;
  await repeat(3000, signal, async () => {
    try {
      const now = await api.get("/semblance/overview", signal);
      show(now);
    } catch (error) {
      if (error.name !== "AbortError") tiles.replaceChildren(trouble(error));
      return;
    }
    if (Date.now() - ledgerAt > 15000) {
      ledgerAt = Date.now();
      await fill(savings, ledger);
    }
  });

  function show({ rates, latency_ms: latency, saved, health: checks, trips: tripped, series, recording }) {
    tiles.replaceChildren(
      tile("Requests per second", number(rates.requests_per_s), "in the last two minutes"),
      tile("Served from the cache", percent(rates.hit_share), "of requests that may be cached"),
      tile("A hit begins after", millis(latency.hit?.p50), latency.hit ? `99 of 100 within ${millis(latency.hit.p99)}` : "no hit in the last hour"),
      tile("A miss begins after", millis(latency.miss?.p50), latency.miss ? `99 of 100 within ${millis(latency.miss.p99)}` : "no miss in the last hour"),
      tile("Saved today, net", usd(saved.today_net_usd), `${short(saved.today_tokens)} tokens; ${usd(saved.today_usd)} before audits and refreshes`),
      tile("Saved in seven days, net", usd(saved.week_net_usd), saved.unpriced_tokens ? `and ${short(saved.unpriced_tokens)} tokens of models without a price` : `prices of ${saved.prices_dated || "no list"}`));
    traffic.replaceChildren(chart.stacked(series, Math.max(traffic.clientWidth, 240)));
    health.replaceChildren(h("ul", { class: "list health" }, checks.map((check) => h("li", {}, h("span", { class: check.ok ? "dot" : "dot bad", role: "img", "aria-label": check.ok ? "well" : "in trouble" }), h("strong", {}, check.name), h("span", { class: "faint" }, sizes(check.detail))))),
      recording ? "" : h("p", { class: "faint" }, "Requests are not recorded. Start the gateway with --traffic-record true to see past decisions and to preview edits."));
    trips.replaceChildren(tripped.length ? h("div", { class: "stack" }, h("p", { class: "faint" }, "Too many of their reworded hits were wrong: they serve the same question only."), h("ul", { class: "list" }, tripped.map((trip) => h("li", { class: "trip" }, h("div", {}, h("strong", {}, trip.category), trip.at_ms ? h("span", { class: "faint" }, " since ", time(trip.at_ms)) : "", h("p", {}, `${trip.why}.`)), action("Serve by meaning again", () => letOn(trip.category)))))) : empty("No category is tripped: wrong hits are within their budgets."));
  }
}

/** Lets a tripped category serve by meaning again, if the operator is sure. */
export async function letOn(category) {
  if (!await confirm(`Serve ${category} by meaning again?`, [h("p", {}, "Its books of audited and reported hits begin anew. Do this when what made hits wrong is mended.")], "Serve by meaning again", "primary")) return false;
  await api.post("/semblance/audits/reset", { category });
  toast(`${category} serves by meaning again; its books begin anew.`);
  return true;
}

/** Counts of bytes in a detail, for people. */
const sizes = (detail) => detail.replace(/(\d+) bytes/g, (_, count) => bytes(Number(count)));

const WEEK = 7 * 86400000;
async function ledger() {
  const { rows, series, prices_dated: dated } = await api.get(`/semblance/ledger${api.query({ by: "category", since_ms: Date.now() - WEEK, bucket_ms: 3600000 })}`);
  if (!rows.length) return empty("No requests yet.");
  const busy = series.filter((hour) => hour.requests > 0);
  return [busy.length > 1 ? h("div", { class: "stack" }, h("span", { class: "label" }, "Saved by the hour, net"), chart.spark(busy.map((hour) => hour.net_usd), "Dollars saved by the hour")) : null, table("Net of refreshes, audits, the judge and bought vectors. The wrong-hit bound says how many reworded hits may be wrong, with 95 % certainty.", [
    { name: "Category", head: true, cell: (row) => row.category || "(none)" },
    { name: "Requests", num: true, cell: (row) => number(row.requests) },
    { name: "Exact", num: true, cell: (row) => number(row.hits_exact) },
    { name: "By meaning", num: true, cell: (row) => number(row.hits_semantic) },
    { name: "Stale", num: true, cell: (row) => number(row.stale) },
    { name: "Saved", num: true, cell: (row) => usd(row.saved_usd) },
    { name: "Net", num: true, cell: (row) => usd(row.net_usd) },
    { name: "Tokens saved", num: true, cell: (row) => short(row.tokens_saved.input + row.tokens_saved.output) },
    { name: "Wrong hits, bound", cell: (row) => bound(row) },
  ], rows), h("p", { class: "faint" }, `Prices of ${dated || "no list"}; models without a price count in tokens only.`)];
}

export function bound({ wrong_hit_bound: upper, wrong_hit_budget: budget, hits_semantic: hits }) {
  if (!hits) return h("span", { class: "faint" }, "no reworded hits");
  if (upper >= 1) return pill("not audited yet", "warn");
  return h("span", {}, pill(`≤ ${percent(upper)}`, upper <= budget ? "good" : "warn"), ` of ${percent(budget)} allowed`);
}
