"""LiteLLM's SDK, on its OpenAI route and on its Anthropic route."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

litellm.suppress_debug_info = True

from harness import GATEWAY, calls, done, expect, key, raises, twice

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Weather in a city.",
          "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]


def user(text):
    """One user message."""
    return [{"role": "user", "content": text}]


def added(stream):
    """What a stream's chunks add up to."""
    chunks = list(stream)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks), chunks[-1].choices[0].finish_reason


for route, base in [("openai/answers", f"http://{GATEWAY}/v1"), ("anthropic/answers", f"http://{GATEWAY}")]:
    credential = key()
    ask = lambda text, **more: litellm.completion(model=route, messages=user(text), api_base=base, api_key=credential, max_retries=0, num_retries=0, **more)
    whole = twice(f"{route}: completion", lambda: ask("Capital of France?").choices[0].message.content)
    twice(f"{route}: usage", lambda: ask("Capital of Peru?").usage.total_tokens)
    twice(f"{route}: stream", lambda: added(ask("Capital of Spain?", stream=True)))
    expect("a stream of what came as JSON", calls("shape", 0, lambda: added(ask("Capital of France?", stream=True)))[0], whole)
    arguments = lambda: ask("Weather in Paris?", tools=TOOLS).choices[0].message.tool_calls[0].function.arguments.replace(" ", "")
    expect("arguments", twice(f"{route}: tool call", arguments), '{"city":"Paris"}')
    failing = route.replace("answers", "fail-429-1")
    raises(f"{route}: 429", litellm.RateLimitError, lambda: litellm.completion(
        model=failing, messages=user("?"), api_base=base, api_key=key(), max_retries=0, num_retries=0))
done("litellm")
