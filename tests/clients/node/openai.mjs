// The official OpenAI client for Node: chat completions, responses and embeddings.

import OpenAI from "openai";

import { GATEWAY, calls, done, expect, key, throws, twice } from "./harness.mjs";

const client = (options = {}) => new OpenAI({ baseURL: `http://${GATEWAY}/v1`, apiKey: key(), maxRetries: 0, ...options });
const user = (text) => [{ role: "user", content: text }];
const weather = {
  name: "weather",
  description: "Weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const tools = [{ type: "function", function: weather }];

/** What the chunks of a chat stream add up to. */
async function added(stream) {
  let [text, finish, usage] = ["", null, null];
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      text += choice.delta.content ?? "";
      finish = choice.finish_reason ?? finish;
    }
  }
  return { text, finish, usage };
}

async function chat() {
  const sdk = client();
  const ask = (text, more = {}) => sdk.chat.completions.create({ model: "answers", messages: user(text), ...more });
  const stream = async (text, more = {}) => added(await ask(text, { stream: true, ...more }));
  const whole = await twice("chat", () => ask("Capital of France?"));
  const said = whole.choices[0].message.content;
  const streamed = await twice("chat stream", () => stream("Capital of Spain?"));
  expect("no usage unasked for", streamed.usage, null);
  const used = await twice("with usage", () => stream("Capital of Peru?", { stream_options: { include_usage: true } }));
  expect("usage asked for", used.usage.total_tokens, 16);
  expect("a stream of what came as JSON", (await calls("shape", 0, () => stream("Capital of France?"))).text, said);
  const json = await calls("shape", 0, () => ask("Capital of Spain?"));
  expect("JSON of what came as a stream", json.choices[0].message.content, streamed.text);

  const called = await twice("tool call", () => ask("Weather in Paris?", { tools }));
  expect("its arguments", called.choices[0].message.tool_calls[0].function.arguments, '{"city": "Paris"}');
  const helper = () =>
    sdk.chat.completions.stream({ model: "answers", messages: user("Weather in Paris?"), tools }).finalChatCompletion();
  const final = await calls("shape", 0, helper);
  expect("the helper", final.choices[0].message.tool_calls[0].function.arguments, '{"city": "Paris"}');
  const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: true };
  const format = { type: "json_schema", json_schema: { name: "place", schema } };
  const parse = () => sdk.chat.completions.parse({ model: "answers", messages: user("The Louvre?"), response_format: format });
  const parsed = await twice("structured output", async () => JSON.parse((await parse()).choices[0].message.content));
  expect("parsed", parsed, { city: "Paris", country: "France" });
}

async function errors() {
  const kinds = { 401: OpenAI.AuthenticationError, 404: OpenAI.NotFoundError, 429: OpenAI.RateLimitError, 500: OpenAI.InternalServerError };
  for (const [status, kind] of Object.entries(kinds)) {
    const sdk = client();
    const fail = () => sdk.chat.completions.create({ model: `fail-${status}-1`, messages: user("?") });
    await throws(status, (error) => error instanceof kind && error.message.includes("on demand"), fail);
  }
  const sdk = client({ maxRetries: 2 });
  const retried = () => sdk.chat.completions.create({ model: "fail-429-1", messages: user("Capital of Chile?") });
  await calls("a retried request", 2, retried);
  await calls("then a hit", 0, retried);
  const only = () =>
    sdk.chat.completions.create({ model: "answers", messages: user("New?") }, { headers: { "cache-control": "only-if-cached" } });
  await throws("only-if-cached", (error) => error.status === 504, () => calls("only-if-cached", 0, only));
  const cut = async () => added(await sdk.chat.completions.create({ model: "cut-3", messages: user("Cut?"), stream: true }));
  for (const time of ["first", "second"]) await throws(`cut short, ${time}`, () => true, () => calls("cut", 1, cut));
}

async function responses() {
  const sdk = client();
  const ask = (input, more = {}) => sdk.responses.create({ model: "answers", input, ...more });
  await twice("response", async () => (await ask("Capital of France?")).output);
  const stream = async () => {
    const events = [];
    for await (const event of await ask("Capital of Spain?", { stream: true })) events.push(event);
    return [events[0].type, events.at(-1).type, events.at(-1).response.output];
  };
  expect("the last event", (await twice("response stream", stream))[1], "response.completed");
  const called = await twice("tool call", async () => (await ask("Weather in Paris?", { tools: [{ type: "function", ...weather }] })).output);
  expect("its arguments", called[0].arguments, '{"city": "Paris"}');
  expect("a handle is kept", (await ask("Capital of France?")).id, (await ask("Capital of France?")).id);
}

async function embeddings() {
  const sdk = client();
  const embed = (input, more = {}) => sdk.embeddings.create({ model: "embeds", input, ...more });
  const pair = await twice("embeddings", async () => (await embed(["one", "two"])).data);
  const floats = await calls("one of them", 0, () => embed(["two"], { encoding_format: "float" }));
  expect("floats", floats.data[0].embedding, pair[1].embedding);
}

for (const checks of [chat, errors, responses, embeddings]) await checks();
done("openai (Node)");
