// The Vercel AI SDK over its providers: OpenAI (responses by default, and chat), Anthropic, and anything OpenAI-compatible.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";

import { GATEWAY, calls, done, expect, key, throws, twice } from "./harness.mjs";

const baseURL = `http://${GATEWAY}/v1`;
const openai = createOpenAI({ baseURL, apiKey: key() });
const anthropic = createAnthropic({ baseURL, apiKey: key() });
const compatible = createOpenAICompatible({ name: "gateway", baseURL, apiKey: key(), supportsStructuredOutputs: true });
const models = {
  "openai, responses": (name) => openai(name),
  "openai, chat": (name) => openai.chat(name),
  anthropic: (name) => anthropic(name),
  "openai-compatible": (name) => compatible(name),
};
const tools = { weather: tool({ description: "Weather in a city.", inputSchema: z.object({ city: z.string() }) }) };
const place = z.object({ city: z.string(), country: z.string() });

for (const [name, make] of Object.entries(models)) {
  const options = { model: make("answers"), maxRetries: 0 };
  const ask = async (prompt, more = {}) => generateText({ ...options, prompt, ...more });
  const stream = async (prompt) => {
    const result = streamText({ ...options, prompt, onError: () => {} });
    return { text: await result.text, finish: await result.finishReason, usage: await result.usage };
  };
  const told = async (prompt) => {
    const { text, finishReason, usage } = await ask(prompt);
    return { text, finishReason, usage };
  };
  const whole = await twice(`${name}: generateText`, () => told("Capital of France?"));
  const streamed = await twice(`${name}: streamText`, () => stream("Capital of Spain?"));
  expect("a stream of what came as JSON", (await calls("shape", 0, () => stream("Capital of France?"))).text, whole.text);
  expect("JSON of what came as a stream", (await calls("shape", 0, () => told("Capital of Spain?"))).text, streamed.text);
  const call = async () => (await ask("Weather in Paris?", { tools })).toolCalls.map(({ toolName, input }) => ({ toolName, input }));
  expect("tool call", await twice(`${name}: tools`, call), [{ toolName: "weather", input: { city: "Paris" } }]);
  if (name !== "anthropic") {
    const object = async () => (await generateObject({ ...options, prompt: "The Louvre?", schema: place })).object;
    expect("object", await twice(`${name}: generateObject`, object), { city: "Paris", country: "France" });
  }
  const fail = () => generateText({ model: make("fail-401-9"), maxRetries: 0, prompt: "?" });
  await throws(`${name}: 401`, (error) => error.statusCode === 401, fail);
  const cut = async () => {
    const result = streamText({ model: make("cut-4"), maxRetries: 0, prompt: "Cut?", onError: () => {} });
    for await (const part of result.fullStream) if (part.type === "error") throw part.error;
    return "no error";
  };
  for (const time of ["first", "second"]) await throws(`${name}: cut short, ${time}`, () => true, () => calls("cut", 1, cut));
}
const embed = async () => (await embedMany({ model: openai.embedding("embeds"), values: ["one", "two"], maxRetries: 0 })).embeddings;
await twice("embedMany", embed);
// The second turn names the first turn's item by its id, which must be the provider's own.
const turns = async () => {
  const first = await generateText({ model: openai("answers"), prompt: "Capital of Peru?", maxRetries: 0 });
  const messages = [{ role: "user", content: "Capital of Peru?" }, ...first.response.messages, { role: "user", content: "And its river?" }];
  return (await generateText({ model: openai("answers"), messages, maxRetries: 0 })).text;
};
await calls("two turns", 2, turns);
await calls("the first from the cache, the second with the provider's memory", 1, turns);
done("Vercel AI SDK");
