// What every Node client's checks share: a scenario runs twice, and the second time must not show.
// The same as python/harness.py, which says why.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

/** The gateway; one that does not store tool calls; and where to ask what they and the provider saw. */
export const [GATEWAY, PLAIN_GATEWAY, DESK] = process.argv.slice(2);
export const PNG = "iVBORw0KGgo=";
const ASKED = new Set(["miss", "bypass"]);
/** Members that are new in every answer, and ids that are. The ids of response objects are handles, and stay. */
const FRESH = new Set(["created", "_request_id", "timestamp", "headers", "body"]);
const FRESH_ID = /^(chatcmpl-|cmpl-|msg_01|aitxt-|aiobj-)/;
let checks = 0;

/** A credential of its own: a scope without entries. */
export const key = () => `sk-${randomUUID()}`;

/** What happened since this was last asked. */
export const news = async () => (await fetch(`http://${DESK}/`)).json();

/** A parsed object as plain data, without what is new in every answer. */
function plain(value) {
  const kept = (name, part) => {
    if (FRESH.has(name)) return undefined;
    return typeof part === "string" && FRESH_ID.test(part) ? "fresh" : part;
  };
  return JSON.parse(JSON.stringify(value ?? null, kept));
}

/** One check. */
export function expect(what, got, wanted) {
  assert.deepEqual(got, wanted, `${what}: ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
  checks += 1;
}

/** Runs a scenario; `wanted` has the outcome of each request it makes of the gateway, in order: `miss hit-exact`. */
export async function does(what, wanted, scenario) {
  await news();
  const result = await scenario();
  const seen = await news();
  const outcomes = seen.exchanges.map((exchange) => exchange.outcome);
  const why = seen.exchanges.map((exchange) => exchange.headers["cache-status"]);
  expect(`${what} (${why}): outcomes`, outcomes, wanted.split(" "));
  expect(`${what}: requests of the provider`, seen.provider, outcomes.filter((outcome) => ASKED.has(outcome)).length);
  return result;
}

/** A scenario of one request that the cache answers. */
export const hits = async (what, scenario) => plain(await does(what, "hit-exact", scenario));

/** The same scenario against an empty cache and a full one: the client must see the same. */
export async function twice(what, scenario) {
  const miss = plain(await does(`${what}, new`, "miss", scenario));
  const hit = await hits(`${what}, again`, scenario);
  expect(`${what}: the same object`, hit, miss);
  return hit;
}

/** A scenario that no cache may answer: it reaches the provider both times. */
export async function never(what, scenario, outcome = "miss") {
  await does(`${what}, new`, outcome, scenario);
  return does(`${what}, again`, outcome, scenario);
}

/** A scenario that must throw what `holds` is true of, after requests with these outcomes; returns what it threw. */
export async function throws(what, holds, wanted, scenario) {
  return does(what, wanted, async () => {
    let result;
    try {
      result = await scenario();
    } catch (error) {
      expect(`${what}: ${error?.constructor?.name} ${error?.message}`, holds(error), true);
      return error;
    }
    throw new Error(`${what}: nothing was thrown, but ${JSON.stringify(result)} returned`);
  });
}

/** A scenario that must throw after one call of the gateway, which answers it alone; the error and the call. */
export async function refused(what, holds, scenario) {
  await news();
  let error;
  try {
    await scenario();
  } catch (thrown) {
    error = thrown;
  }
  expect(`${what}: ${error?.message}`, holds(error), true);
  const seen = await news();
  expect(`${what}: in one call`, [seen.exchanges.map((exchange) => exchange.status), seen.provider], [[504], 0]);
  expect(`${what}: which says so`, seen.exchanges[0].headers["x-should-retry"], "false");
}

/** A scenario of one call; `wanted` has the retry counts that the client sent with its requests. */
export async function retries(what, wanted, scenario) {
  await news();
  const result = await scenario();
  expect(
    what,
    (await news()).exchanges.map((exchange) => exchange.retry),
    wanted,
  );
  return result;
}

/** Runs groups of checks, by name; a line each. */
export async function run(client, groups) {
  for (const [name, group] of Object.entries(groups)) {
    checks = 0;
    try {
      await group();
      console.log(`ok  ${client}, ${name}: ${checks} checks`);
    } catch (error) {
      console.log(error.stack);
      console.log(`FAIL ${client}, ${name}: ${error.message.replaceAll("\n", " ")}`);
      process.exitCode = 1;
    }
  }
}
