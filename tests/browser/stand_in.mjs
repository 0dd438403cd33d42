// A control plane that answers as its contract says where the gateway cannot be brought to yet, and hands everything else
// to the gateway behind it. What it was asked is kept in `asked`, for tests.

import { readFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";

const KINDS = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };

/** Serves the page's files from `files`, its own answers, and those of the gateway at `behind`. */
export async function standIn(behind, files) {
  const world = made();
  const asked = [];
  const { headers: rules } = await fetch(behind, { headers: { accept: "text/html" } });
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    const tell = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    try {
      const name = url.pathname === "/" ? "index.html" : url.pathname.match(/^\/dashboard\/([a-z_]+\.[a-z]+)$/)?.[1];
      if (name) {
        const content = await readFile(join(files, name));
        response.writeHead(200, { "content-type": KINDS[name.split(".").at(-1)], "content-security-policy": rules.get("content-security-policy"), "x-content-type-options": "nosniff" }).end(content);
        return;
      }
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      const answer = find(request.method, url, world);
      if (!answer) return pass(behind, request, text, response);
      const body = text ? JSON.parse(text) : {};
      asked.push({ method: request.method, path: url.pathname, query: Object.fromEntries(url.searchParams), body });
      const original = answer.over ? await (await fetch(behind + url.pathname)).json() : undefined;
      const [status, told] = answer.give({ url, body, original });
      return tell(status, told);
    } catch (error) {
      return tell(500, { error: { reason: "stand-in", message: String(error) } });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${server.address().port}`, asked, world,
    stop: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}

function pass(behind, request, text, response) {
  const onward = http.request(behind + request.url, { method: request.method, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    response.flushHeaders();
    answer.pipe(response);
  });
  response.on("close", () => onward.destroy());
  onward.on("error", () => response.destroy());
  onward.end(text);
}

const MINUTE = 60_000;
const fault = (status, reason, message) => [status, { error: { reason, message } }];

function made() {
  const now = Date.now();
  const entry = (id, query, source, age, freshness) => ({ id, scope: "58cdb6e51426ec30df07f43341c13423cf1f122c63a3f0df1b55e24deb2a2879", principal: "8c8f0f888bdb17bc788ef22a347574cb7a68e8bc63a0e41e7db16a83b8bd206c", category: "product-faq", query, model: "gpt-4o-mini", generated_at_ms: now - age, invalidated_at_ms: null, bytes: 640, tags: ["help"], aliases: 1, sources: [source], age_ms: age, freshness });
  return {
    tripped: true,
    entries: [
      entry("f1", "How do I return an item and get a refund?", "doc:42@v7", 14 * MINUTE, "fresh"),
      entry("f2", "How long does shipping take?", "doc:43@v2", 1450 * MINUTE, "stale"),
      entry("f3", "Which payment methods do you accept?", "cms:payments@2026-10", 9000 * MINUTE, "expired"),
    ],
    sources: [
      { source: "doc:42", version: "v7", updated_at_ms: now - 200 * MINUTE, entries: 1 },
      { source: "doc:43", version: "v2", updated_at_ms: now - 4000 * MINUTE, entries: 1 },
      { source: "cms:payments", version: "2026-10", updated_at_ms: now - 60000 * MINUTE, entries: 1 },
    ],
    bans: [{ id: "b1", near: "What is the refund policy?", radius: 0.85, until_ms: now - 30 * MINUTE, hardness: "hard", category: null, expires_ms: now + 1440 * MINUTE }],
    fixtures: [
      { file: "banking.jsonl", cases: 26, near_misses: 13, paraphrases: 13, problems: 0, writable: false },
      { file: "desk.jsonl", cases: 4, near_misses: 3, paraphrases: 1, problems: 0, writable: true },
      { file: "near-miss/negation.jsonl", cases: 30, near_misses: 15, paraphrases: 15, problems: 0, writable: false },
    ],
    runs: 0,
  };
}

/** The stand-in's answer to a call, if it has one; `over` is laid over the gateway's own. */
function find(method, url, world) {
  const path = decodeURIComponent(url.pathname).replace(/^\/semblance\//, "");
  const asked = `${method} ${path}`;
  const search = url.searchParams;
  if (asked === "GET overview" && world.tripped) return { over: true, give: ({ original }) => [200, { ...original, trips: [{ category: "product-faq", at_ms: Date.now() - 12 * MINUTE, why: "9 of 120 audited hits were wrong, 2 reported" }] }] };
  if (asked === "GET audits" && world.tripped) return { over: true, give: ({ original }) => [200, { ...original, categories: original.categories.map((one) => (one.category === "product-faq" ? { ...one, audited: 120, wrong: 9, bound: 0.128, lower_bound: 0.04, tripped: true, reported: 2 } : one.category === "documentation" ? { ...one, audited: 840, wrong: 4, bound: 0.011, lower_bound: 0.002, reported: 1 } : one)) }] };
  if (asked === "POST audits/reset") return { give: ({ body }) => { world.tripped = false; return [200, { category: body.category, reset: true }]; } };
  if (asked === "GET entries" && ["text", "near", "source"].some((name) => search.get(name))) return { give: () => [200, searched(search, world)] };
  if (asked.startsWith("GET entries/f")) return { give: () => { const one = world.entries.find(({ id }) => id === path.split("/")[1]); return one ? [200, { ...one, policy_revision: "627413e6330b", answer: { choices: [{ message: { content: "Within 30 days, with the receipt." } }] } }] : fault(404, "no-entry", "no such entry: it expired, was purged or replaced"); } };
  if (asked === "POST purge") return { give: ({ body }) => { const hit = body.source || body.near ? 2 : 0; return [200, { purged: hit, dry_run: Boolean(body.dry_run), entries: ["f1", "f2"].slice(0, hit) }]; } };
  return sources(asked, path, search, world) ?? bans(asked, path, world) ?? fixtures(asked, path, world);
}

function searched(search, world) {
  const text = search.get("text")?.toLowerCase();
  const found = world.entries.filter((one) => (!text || one.query.toLowerCase().includes(text)) && (!search.get("source") || one.sources.some((source) => source.startsWith(search.get("source")))));
  return { entries: search.get("near") ? found.map((one, at) => ({ ...one, similarity: 0.93 - at * 0.11 })) : found, total: found.length };
}

function sources(asked, path, search, world) {
  const named = path.startsWith("sources/") ? path.slice(8) : null;
  const source = world.sources.find((one) => one.source === named);
  const dependents = world.entries.filter((entry) => entry.sources.some((one) => one.startsWith(`${named}@`)));
  if (asked === "GET sources") return { give: () => [200, { sources: world.sources.filter((one) => one.source.includes(search.get("text") ?? "")) }] };
  if (named && asked.startsWith("GET")) return { give: () => (source ? [200, { ...source, dependents }] : fault(404, "no-source", "no such source")) };
  if (named && asked.startsWith("PUT")) {
    return { give: ({ body }) => {
      if (source) Object.assign(source, { version: body.version, updated_at_ms: Date.now() });
      else world.sources.push({ source: named, version: body.version, updated_at_ms: Date.now(), entries: 0 });
      return [200, { source: named, version: body.version, affected: dependents.length, entries: dependents.map(({ id }) => id) }];
    } };
  }
  if (named && asked.startsWith("DELETE")) return { give: () => { world.sources = world.sources.filter((one) => one !== source); return [200, { source: named, affected: dependents.length }]; } };
  return undefined;
}

function bans(asked, path, world) {
  if (asked === "GET bans") return { give: () => [200, { bans: world.bans }] };
  if (asked.startsWith("DELETE bans/")) return { give: () => { world.bans = world.bans.filter(({ id }) => id !== path.slice(5)); return [200, {}]; } };
  return undefined;
}

function fixtures(asked, path, world) {
  if (asked === "GET fixtures") return { give: () => [200, { directory: "/srv/semblance/fixtures", files: world.fixtures }] };
  if (asked === "POST fixtures/run") return { give: () => { world.polls = 0; world.runs += 1; return [202, { job: `r${world.runs}` }]; } };
  if (asked.startsWith("GET fixtures/run/")) return { give: () => { world.polls += 1; return [200, world.polls < 3 ? { state: "running", done: world.polls * 20, total: 60, error: null, report: null } : { state: "done", done: 60, total: 60, error: null, report: REPORT }]; } };
  if (asked === "POST fixtures/cases") {
    return { give: ({ body }) => {
      const file = world.fixtures.find((one) => one.file === body.file);
      if (body.case.seed === body.case.ask) return fault(400, "bad-request", "seed and ask are the same question");
      file.cases += 1;
      file[body.case.expect === "hit" ? "paraphrases" : "near_misses"] += 1;
      return [200, { file: file.file, cases: file.cases }];
    } };
  }
  return undefined;
}

const tally = (paraphrases, hit, near, served) => ({ cases: paraphrases + near, paraphrases, paraphrases_hit: hit, near_misses: near, near_misses_served: served });
const REPORT = {
  ...tally(30, 22, 30, 1), pool: false, wrong_hits: 1, wrong_hit_share: 0.0435, wrong_hit_bound_95: 0.19, near_misses_served_bound_95: 0.149, cost_of_wrong_usd: 0, reliability: [], missed: [],
  by_kind: { negation: tally(15, 11, 15, 0), number: tally(15, 11, 15, 1) }, by_category: {},
  served: [{ id: "number-018", kind: "number", seed: "Can I invite 5 people to a shared workspace?", ask: "Can I invite 15 people to a shared workspace?", expect: "miss", outcome: "hit-semantic", reason: "semantic", why: "p 0.968 over a bar of 0.950" }],
  refused: [{ id: "number-003", kind: "number", seed: "Can I invite 5 people to a shared workspace?", ask: "Is it possible to invite five people to a shared workspace?", expect: "hit", outcome: "miss", reason: "verifier-rejected", why: "p 0.871 under a bar of 0.910" }],
};
