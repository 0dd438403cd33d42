// The official Anthropic client for Node.

import Anthropic from "@anthropic-ai/sdk";

import { GATEWAY, calls, done, expect, key, throws, twice } from "./harness.mjs";

const client = (options = {}) => new Anthropic({ baseURL: `http://${GATEWAY}`, apiKey: key(), maxRetries: 0, ...options });
const asking = (text, more = {}) => ({ model: "answers", max_tokens: 100, messages: [{ role: "user", content: text }], ...more });
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "weather", description: "Weather in a city.", input_schema: schema }];

const sdk = client();
const ask = (text, more) => sdk.messages.create(asking(text, more));
const stream = (text, more) => sdk.messages.stream(asking(text, more)).finalMessage();
const whole = await twice("message", () => ask("Capital of France?"));
const streamed = await twice("stream", () => stream("Capital of Spain?"));
expect("a stream of what came as JSON", (await calls("shape", 0, () => stream("Capital of France?"))).content, whole.content);
expect("JSON of what came as a stream", (await calls("shape", 0, () => ask("Capital of Spain?"))).content, streamed.content);
const called = await twice("tool call", () => ask("Weather in Paris?", { tools }));
expect("its input", called.content[0].input, { city: "Paris" });
expect("streamed", (await calls("shape", 0, () => stream("Weather in Paris?", { tools }))).content[0].input, { city: "Paris" });

for (const [status, kind] of Object.entries({ 401: Anthropic.AuthenticationError, 429: Anthropic.RateLimitError, 500: Anthropic.InternalServerError })) {
  const failing = client();
  const fail = () => failing.messages.create(asking("?", { model: `fail-${status}-1` }));
  await throws(status, (error) => error instanceof kind && error.message.includes("on demand"), fail);
}
const patient = client({ maxRetries: 2 });
const retried = () => patient.messages.create(asking("Capital of Chile?", { model: "fail-500-1" }));
await calls("a retried request", 2, retried);
await calls("then a hit", 0, retried);
const only = () => patient.messages.create(asking("New?"), { headers: { "cache-control": "only-if-cached" } });
await throws("only-if-cached", (error) => error.status === 504, () => calls("only-if-cached", 0, only));
const cut = () => client().messages.stream(asking("Cut?", { model: "cut-4" })).finalMessage();
for (const time of ["first", "second"]) await throws(`cut short, ${time}`, () => true, () => calls("cut", 1, cut));
done("anthropic (Node)");
