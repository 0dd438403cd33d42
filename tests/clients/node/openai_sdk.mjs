// The official OpenAI client for Node: chat completions, responses, embeddings.

import OpenAI from "openai";

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
  new OpenAI({ baseURL: `http://${gateway}/v1`, apiKey: key(), maxRetries: 0, ...options });
const user = (content) => [{ role: "user", content }];
const after = (country) => [
  ...user(`Capital of ${country}?`),
  { role: "assistant", content: "Yes." },
  ...user("And its river?"),
];
const place = {
  type: "object",
  properties: { city: { type: "string" }, country: { type: "string" } },
  required: ["city", "country"],
};
const schema = { name: "place", strict: true, schema: { ...place, additionalProperties: false } };
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { name: "weather", description: "Weather in a city.", parameters };
const tools = [{ type: "function", function: weather }];
const flatTools = [{ type: "function", strict: false, ...weather }];
const KINDS = {
  401: OpenAI.AuthenticationError,
  404: OpenAI.NotFoundError,
  422: OpenAI.UnprocessableEntityError,
  429: OpenAI.RateLimitError,
  500: OpenAI.InternalServerError,
};

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

/** The events of a responses stream. */
async function listed(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function chat() {
  const sdk = client();
  const ask = (content, more = {}) =>
    sdk.chat.completions.create({ model: "answers", messages: user(content), ...more });
  const turns = (messages) => sdk.chat.completions.create({ model: "answers", messages });
  const stream = async (text, more = {}) => added(await ask(text, { stream: true, ...more }));
  const whole = await twice("JSON", () => ask("Capital of France?"));
  const streamed = await twice("stream", () => stream("Capital of Spain?"));
  expect("no usage unasked for", streamed.usage, null);
  const used = await twice("with usage", () => stream("Capital of Peru?", { stream_options: { include_usage: true } }));
  expect("usage asked for", used.usage, whole.usage);
  const said = whole.choices[0].message.content;
  expect("a stream of what came as JSON", (await hits("shape", () => stream("Capital of France?"))).text, said);
  const json = await hits("shape", () => ask("Capital of Spain?"));
  expect("JSON of what came as a stream", json.choices[0].message.content, streamed.text);
  await twice("turns", () => turns(after("France")));
  await does("the same turn after others", "miss", () => turns(after("Spain")));
  const image = (data) =>
    ask([
      { type: "text", text: "What is this?" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${data}` } },
    ]);
  await twice("image", () => image(PNG));
  await does("another image", "miss", () => image(PNG.replace("iVBOR", "iVBOS")));
}

async function chatTools() {
  const sdk = client();
  const ask = (text, by = sdk) => by.chat.completions.create({ model: "answers", messages: user(text), tools });
  const helper = (text) =>
    sdk.chat.completions.stream({ model: "answers", messages: user(text), tools }).finalChatCompletion();
  const called = (await twice("call", () => ask("Weather in Paris?"))).choices[0].message;
  expect("arguments", called.tool_calls[0].function.arguments, '{"city": "Paris"}');
  const final = (await hits("helper", () => helper("Weather in Paris?"))).choices[0].message;
  expect(
    "streamed",
    final.tool_calls.map((call) => call.function.arguments),
    ['{"city": "Paris"}'],
  );
  const two = (await twice("two calls streamed", () => helper("Weather in both?"))).choices[0].message.tool_calls;
  expect(
    "their arguments",
    two.map((call) => JSON.parse(call.function.arguments).city),
    ["Paris", "Rome"],
  );
  const result = { role: "tool", tool_call_id: called.tool_calls[0].id, content: "18 °C" };
  const messages = [...user("Weather in Paris?"), called, result];
  await twice("result", () => sdk.chat.completions.create({ model: "answers", messages, tools }));
  const plain = client({}, PLAIN_GATEWAY);
  await never("a call, unless calls are stored", () => ask("Weather in Paris?", plain));
  const format = { type: "json_schema", json_schema: schema };
  const parse = () =>
    sdk.chat.completions.parse({ model: "answers", messages: user("Where is the Louvre?"), response_format: format });
  const parsed = await twice("structured output", parse);
  expect("parsed", JSON.parse(parsed.choices[0].message.content), { city: "Paris", country: "France" });
}

async function errors() {
  for (const [status, kind] of Object.entries(KINDS)) {
    const sdk = client();
    const fail = () => sdk.chat.completions.create({ model: `fail-${status}-1`, messages: user("Who failed?") });
    await throws(
      status,
      (error) => error instanceof kind && error.error.message === `status ${status} on demand`,
      "miss",
      fail,
    );
  }
  for (const status of [429, 500]) {
    const sdk = client({ maxRetries: 2 });
    const patient = () =>
      sdk.chat.completions.create({ model: `fail-${status}-1`, messages: user("Capital of Chile?") });
    await retries(`${status}, then success`, ["0", "1"], patient);
    await hits("then", patient);
  }
  const sdk = client({ maxRetries: 2 });
  const only = { headers: { "cache-control": "only-if-cached" } };
  const messages = user("Which planet has the most moons?");
  const cold = () => sdk.chat.completions.create({ model: "answers", messages }, only);
  await refused("only-if-cached", (error) => error.status === 504 && error.code === "only_if_cached_miss", cold);
  const question = user("Which canal cut Panama in two?");
  const cut = async (model) => added(await sdk.chat.completions.create({ model, messages: question, stream: true }));
  for (const time of ["first", "second"]) {
    await throws(
      `cut short, ${time}`,
      () => true,
      "miss",
      () => cut("cut-3"),
    );
    await throws(
      `an error, ${time}`,
      (error) => error instanceof OpenAI.APIError,
      "miss",
      () => cut("error-3"),
    );
  }
  const count = (by, headers = {}) =>
    by.chat.completions.create({ model: "counting", messages: user("How many moons has Mars?") }, { headers });
  await does("new", "miss", () => count(sdk));
  const refreshed = await does("no-cache", "miss", () => count(sdk, { "cache-control": "no-cache" }));
  const again = await hits("kept instead", () => count(sdk));
  expect("the newer", again.choices[0].message.content, refreshed.choices[0].message.content);
  await does("another credential", "miss", () => count(client()));
}

async function responses() {
  const sdk = client();
  const ask = (input, more = {}) => sdk.responses.create({ model: "answers", input, ...more });
  const whole = await twice("JSON", () => ask("Capital of France?"));
  const streamed = await twice("stream", async () => {
    const events = await listed(await ask("Capital of Spain?", { stream: true }));
    return [events[0].type, events.at(-1).type, events.at(-1).response];
  });
  expect("the last event", streamed[1], "response.completed");
  const text = (output) => output[0].content[0].text;
  const raw = await hits("shape", async () => listed(await ask("Capital of France?", { stream: true })));
  expect("a stream of what came as JSON", text(raw.at(-1).response.output), text(whole.output));
  expect(
    "numbered",
    raw.map((event) => event.sequence_number),
    [...raw.keys()],
  );
  expect(
    "JSON of what came as a stream",
    text((await hits("shape", () => ask("Capital of Spain?"))).output),
    text(streamed[2].output),
  );
  expect("the id is a handle", (await ask("Capital of France?")).id, whole.id);
  await never("previous_response_id", () => ask("And its river?", { previous_response_id: whole.id }), "bypass");
  const called = await twice("call", () => ask("Weather in Paris?", { tools: flatTools }));
  expect("arguments", JSON.parse(called.output[0].arguments), { city: "Paris" });
  const result = { type: "function_call_output", call_id: called.output[0].call_id, output: "18 °C" };
  await twice("result", () => ask([...user("Weather in Paris?"), called.output[0], result], { tools: flatTools }));
  const format = { type: "json_schema", ...schema };
  const parsed = await twice("structured", async () =>
    sdk.responses.parse({ model: "answers", input: "Where is the Louvre?", text: { format } }),
  );
  expect("parsed", parsed.output_parsed ?? JSON.parse(text(parsed.output)), { city: "Paris", country: "France" });
  for (const time of ["first", "second"]) {
    const cut = async () =>
      listed(await sdk.responses.create({ model: "cut-4", input: "Which canal cut Panama in two?", stream: true }));
    await throws(`cut short, ${time}`, () => true, "miss", cut);
  }
}

async function embeddings() {
  const sdk = client();
  const embed = (input, more = {}) => sdk.embeddings.create({ model: "embeds", input, ...more });
  const pair = await twice("a pair", () => embed(["one", "two"]));
  const floats = await hits("one of them", () => embed(["two"], { encoding_format: "float" }));
  expect("as floats", floats.data[0].embedding, pair.data[1].embedding);
}

await run("openai (Node)", { chat, "chat tools": chatTools, errors, responses, embeddings });
