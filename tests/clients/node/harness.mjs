// What every Node client's checks share: a scenario runs twice, and the second time must not show.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

export const [GATEWAY, PROVIDER] = process.argv.slice(2);
/** What is new in every answer. */
const FRESH = new Set(["id", "created", "created_at", "_request_id", "timestamp", "headers", "body"]);
let checks = 0;

/** A credential of its own: a scope without entries. */
export const key = () => `sk-${randomUUID()}`;

/** Requests that have reached the provider. */
const count = async () => (await (await fetch(`http://${PROVIDER}/count`)).json()).count;

/** A parsed object as plain data, without what is new in every answer. */
function plain(value) {
  return JSON.parse(JSON.stringify(value ?? null, (name, part) => (FRESH.has(name) ? undefined : part)));
}

/** One check. */
export function expect(what, got, wanted) {
  assert.deepEqual(got, wanted, `${what}: ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
  checks += 1;
}

/** Runs a scenario and checks how many requests reached the provider. */
export async function calls(what, wanted, scenario) {
  const before = await count();
  const result = await scenario();
  expect(`${what}: provider calls`, (await count()) - before, wanted);
  return result;
}

/** The same scenario against an empty cache and a full one: the client must see the same. */
export async function twice(what, scenario) {
  const miss = plain(await calls(`${what}, new`, 1, scenario));
  const hit = plain(await calls(`${what}, again`, 0, scenario));
  expect(`${what}: the same object`, hit, miss);
  return hit;
}

/** A scenario that must throw; returns what it threw. */
export async function throws(what, holds, scenario) {
  let result;
  try {
    result = await scenario();
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    expect(`${what}: ${error.constructor.name} ${error.message}`, holds(error), true);
    return error;
  }
  throw new Error(`${what}: nothing was thrown, but ${JSON.stringify(result)}`);
}

/** The summary of one client. */
export function done(client) {
  console.log(`ok  ${client}: ${checks} checks`);
}
