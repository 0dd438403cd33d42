// The Vercel AI SDK over its providers: OpenAI (responses by default, and chat), Anthropic, and what is OpenAI-compatible.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { z } from "zod";

import { GATEWAY, PLAIN_GATEWAY, PNG, does, expect, hits, key, never, run, throws, twice } from "./harness.mjs";

const base = (gateway) => ({ baseURL: `http://${gateway}/v1`, apiKey: key() });
/** Each makes a function from a model's name to a model, with a credential of its own. */
const PROVIDERS = {
  "openai, responses": (gateway) => createOpenAI(base(gateway)),
  "openai, chat": (gateway) => createOpenAI(base(gateway)).chat,
  anthropic: (gateway) => createAnthropic(base(gateway)),
  "openai-compatible": (gateway) =>
    createOpenAICompatible({ name: "gateway", supportsStructuredOutputs: true, includeUsage: true, ...base(gateway) }),
};
const weather = { description: "Weather in a city.", inputSchema: z.object({ city: z.string() }) };
const tools = { weather: tool(weather) };
const schema = z.object({ city: z.string(), country: z.string() });
globalThis.AI_SDK_LOG_WARNINGS = false;

/** What generateText told. */
const told = ({ text, reasoningText, finishReason, usage, toolCalls, response }) => ({
  text,
  reasoningText,
  finishReason,
  usage,
  calls: toolCalls.map(({ toolCallId, toolName, input }) => ({ toolCallId, toolName, input })),
  model: response.modelId,
});

/** What streamText told, when it was through; its errors are thrown. */
async function streamed(options) {
  const result = streamText({ maxRetries: 0, ...options, onError: () => {} });
  for await (const part of result.fullStream) if (part.type === "error") throw part.error;
  const { text, reasoningText, finishReason, usage, toolCalls, response } = result;
  return told({
    text: await text,
    reasoningText: await reasoningText,
    finishReason: await finishReason,
    usage: await usage,
    toolCalls: await toolCalls,
    response: await response,
  });
}

async function check(name, provider) {
  const models = provider(GATEWAY);
  const ask = async (prompt, more = {}) =>
    told(await generateText({ model: models("answers"), maxRetries: 0, prompt, ...more }));
  const stream = (prompt, more = {}) => streamed({ model: models("answers"), prompt, ...more });
  const whole = await twice("generateText", () => ask("Capital of France?", { system: "Be brief." }));
  const other = await twice("streamText", () => stream("Capital of Spain?"));
  const shaped = await hits("shape", () => stream("Capital of France?", { system: "Be brief." }));
  expect("a stream of what came as JSON", [shaped.text, shaped.usage], [whole.text, whole.usage]);
  const json = await hits("shape", () => ask("Capital of Spain?"));
  expect("JSON of what came as a stream", [json.text, json.usage], [other.text, other.usage]);

  const called = await twice("tools", () => ask("Weather in Paris?", { tools }));
  expect(
    "input",
    called.calls.map(({ toolName, input }) => [toolName, input]),
    [["weather", { city: "Paris" }]],
  );
  // The Anthropic provider marks the tools of a stream in a way of its own: another request.
  const shape = name === "anthropic" ? twice : hits;
  const input = ({ calls }) => calls.map((call) => call.input);
  expect("streamed", input(await shape("shape", () => stream("Weather in Paris?", { tools }))), input(called));
  const two = await twice("two calls streamed", () => stream("Weather in both?", { tools }));
  expect(
    "their inputs",
    two.calls.map((call) => call.input.city),
    ["Paris", "Rome"],
  );
  const plain = provider(PLAIN_GATEWAY);
  await never("a call, unless calls are stored", () => ask("Weather in Paris?", { model: plain("answers"), tools }));
  const object = async () =>
    (await generateObject({ model: models("answers"), maxRetries: 0, prompt: "The Louvre?", schema })).object;
  expect("object", await twice("generateObject", object), { city: "Paris", country: "France" });
  const parts = async () => {
    const { partialObjectStream } = streamObject({
      model: models("answers"),
      maxRetries: 0,
      prompt: "The Louvre?",
      schema,
    });
    let last;
    for await (const part of partialObjectStream) last = part;
    return last;
  };
  expect("streamed", await shape("streamObject", parts), { city: "Paris", country: "France" });

  const image = [
    {
      role: "user",
      content: [
        { type: "text", text: "What is this?" },
        { type: "image", image: PNG, mediaType: "image/png" },
      ],
    },
  ];
  await twice("image", () => ask(undefined, { messages: image }));
  const turns = (country) => [
    { role: "user", content: `Capital of ${country}?` },
    { role: "assistant", content: "Yes." },
    { role: "user", content: "And its river?" },
  ];
  await twice("turns", () => ask(undefined, { messages: turns("France") }));
  await does("the same turn after others", "miss", () => ask(undefined, { messages: turns("Spain") }));
  await does("another credential", "miss", () =>
    ask("Capital of France?", { model: provider(GATEWAY)("answers"), system: "Be brief." }),
  );
  const thinks = { model: models("thinks") };
  const thought = await twice("reasoning", () => ask("Why is the sky blue?", thinks));
  const again = await hits("shape", () => stream("Why is the sky blue?", thinks));
  expect("streamed", [again.reasoningText, again.text], [thought.reasoningText, thought.text]);

  for (const status of [401, 404, 422, 429, 500]) {
    const fail = () => ask("Who failed?", { model: models(`fail-${status}-1`) });
    await throws(
      `${status}`,
      (error) => error.statusCode === status && error.message === `status ${status} on demand`,
      "miss",
      fail,
    );
  }
  const patient = () => ask("Capital of Chile?", { model: models("fail-503-1"), maxRetries: 2 });
  await does("503, then success", "miss miss", patient);
  for (const time of ["first", "second"]) {
    for (const model of ["cut-4", "error-4"]) {
      await throws(
        `${model}, ${time}`,
        () => true,
        "miss",
        () => stream("Which canal cut Panama in two?", { model: models(model) }),
      );
    }
  }
}

/** A second turn over responses names the first turn's item by its id, which must be the provider's own. */
async function itemReferences() {
  const openai = createOpenAI(base(GATEWAY));
  const turns = async () => {
    const first = await generateText({ model: openai("answers"), prompt: "Capital of Peru?", maxRetries: 0 });
    const question = { role: "user", content: "Capital of Peru?" };
    const messages = [question, ...first.response.messages, { role: "user", content: "And its river?" }];
    return (await generateText({ model: openai("answers"), messages, maxRetries: 0 })).text;
  };
  await does("two turns", "miss bypass", turns);
  await does("the first from the cache, the second with the provider's memory", "hit-exact bypass", turns);
  const inert = { providerOptions: { openai: { store: false } }, maxRetries: 0 };
  const kept = async () =>
    (await generateText({ model: openai("answers"), prompt: "Capital of Peru?", ...inert })).text;
  await twice("an answer that the provider does not keep", kept);
}

/** The SDK's own loop: a call, the tool, and the answer to its result. */
async function loop() {
  const chat = createOpenAI(base(GATEWAY)).chat;
  const run = { weather: tool({ ...weather, execute: async () => "18 °C" }) };
  const steps = async () =>
    (
      await generateText({
        model: chat("answers"),
        prompt: "Weather in Paris?",
        tools: run,
        stopWhen: stepCountIs(3),
        maxRetries: 0,
      })
    ).text;
  const text = await does("two steps", "miss miss", steps);
  expect("again", await does("two steps, again", "hit-exact hit-exact", steps), text);
}

async function embeddings() {
  const openai = createOpenAI(base(GATEWAY));
  const embed = async () =>
    (await embedMany({ model: openai.embedding("embeds"), values: ["one", "two"], maxRetries: 0 })).embeddings;
  await twice("embedMany", embed);
}

const groups = Object.entries(PROVIDERS).map(([name, provider]) => [name, () => check(name, provider)]);
await run("Vercel AI SDK", { ...Object.fromEntries(groups), "item references": itemReferences, loop, embeddings });
