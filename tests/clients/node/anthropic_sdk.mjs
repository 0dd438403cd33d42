// The official Anthropic client for Node.

import Anthropic from "@anthropic-ai/sdk";

import {
  GATEWAY,
  PLAIN_GATEWAY,
  PNG,
  does,
  expect,
  hits,
  key,
  never,
  refused,
  retries,
  run,
  throws,
  twice,
} from "./harness.mjs";

const client = (options = {}, gateway = GATEWAY) =>
  new Anthropic({ baseURL: `http://${gateway}`, apiKey: key(), maxRetries: 0, ...options });
const user = (content) => ({ role: "user", content });
const asking = (content, more = {}) => ({ model: "answers", max_tokens: 100, messages: [user(content)], ...more });
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const tools = [{ name: "weather", description: "Weather in a city.", input_schema: schema }];
const KINDS = {
  401: Anthropic.AuthenticationError,
  404: Anthropic.NotFoundError,
  422: Anthropic.UnprocessableEntityError,
  429: Anthropic.RateLimitError,
  500: Anthropic.InternalServerError,
};

async function messages() {
  const sdk = client();
  const ask = (content, more) => sdk.messages.create(asking(content, more));
  const stream = (content, more) => sdk.messages.stream(asking(content, more)).finalMessage();
  const whole = await twice("JSON", () => ask("Capital of France?"));
  const streamed = await twice("stream", () => stream("Capital of Spain?"));
  const shaped = await hits("shape", () => stream("Capital of France?"));
  expect("a stream of what came as JSON", [shaped.content, shaped.usage], [whole.content, whole.usage]);
  const json = await hits("shape", () => ask("Capital of Spain?"));
  expect("JSON of what came as a stream", [json.content, json.usage], [streamed.content, streamed.usage]);
  const thinking = { model: "thinks", max_tokens: 2000, thinking: { type: "enabled", budget_tokens: 1024 } };
  const thought = await twice("thinking", () => ask("Why is the sky blue?", thinking));
  expect(
    "its signature",
    (await hits("shape", () => stream("Why is the sky blue?", thinking))).content,
    thought.content,
  );
  const after = (country) => [
    user(`Capital of ${country}?`),
    { role: "assistant", content: "Yes." },
    user("And its river?"),
  ];
  await twice("turns", () => ask("", { messages: after("France") }));
  await does("the same turn after others", "miss", () => ask("", { messages: after("Spain") }));
  const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } };
  await twice("image", () => ask([image, { type: "text", text: "What is this?" }]));
}

async function toolUse() {
  const sdk = client();
  const ask = (content, by = sdk) => by.messages.create(asking(content, { tools }));
  const stream = (content) => sdk.messages.stream(asking(content, { tools })).finalMessage();
  const called = await twice("call", () => ask("Weather in Paris?"));
  expect("input", called.content[0].input, { city: "Paris" });
  expect("streamed", (await hits("shape", () => stream("Weather in Paris?"))).content, called.content);
  const two = await twice("two calls streamed", () => stream("Weather in both?"));
  expect(
    "their inputs",
    two.content.map((block) => block.input.city),
    ["Paris", "Rome"],
  );
  const result = user([{ type: "tool_result", tool_use_id: called.content[0].id, content: "18 °C" }]);
  const back = [user("Weather in Paris?"), { role: "assistant", content: called.content }, result];
  await twice("result", () => sdk.messages.create(asking("", { messages: back, tools })));
  const plain = client({}, PLAIN_GATEWAY);
  await never("a call, unless calls are stored", () => ask("Weather in Paris?", plain));
}

async function errors() {
  for (const [status, kind] of Object.entries(KINDS)) {
    const sdk = client();
    const fail = () => sdk.messages.create(asking("Who failed?", { model: `fail-${status}-1` }));
    const holds = (error) => error instanceof kind && error.error.error.message === `status ${status} on demand`;
    await throws(status, holds, "miss", fail);
  }
  for (const status of [429, 500]) {
    const sdk = client({ maxRetries: 2 });
    const patient = () => sdk.messages.create(asking("Capital of Chile?", { model: `fail-${status}-1` }));
    await retries(`${status}, then success`, ["0", "1"], patient);
    await hits("then", patient);
  }
  const sdk = client({ maxRetries: 2 });
  const only = { headers: { "cache-control": "only-if-cached" } };
  const cold = () => sdk.messages.create(asking("Which planet has the most moons?"), only);
  await refused("only-if-cached", (error) => error.status === 504, cold);
  for (const model of ["cut-5", "error-5"]) {
    const cut = () => sdk.messages.stream(asking("Which canal cut Panama in two?", { model })).finalMessage();
    for (const time of ["first", "second"]) {
      await throws(`${model}, ${time}`, (error) => error instanceof Anthropic.AnthropicError, "miss", cut);
    }
  }
  const count = (by, headers = {}) =>
    by.messages.create(asking("How many moons has Mars?", { model: "counting" }), { headers });
  await does("new", "miss", () => count(sdk));
  const refreshed = await does("no-cache", "miss", () => count(sdk, { "cache-control": "no-cache" }));
  expect(
    "the newer is kept",
    (await hits("again", () => count(sdk))).content,
    refreshed.content.map((block) => ({ ...block })),
  );
  await does("another credential", "miss", () => count(client()));
}

await run("anthropic (Node)", { messages, tools: toolUse, errors });
