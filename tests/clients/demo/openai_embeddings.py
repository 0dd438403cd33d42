"""The official OpenAI client against a running gateway: embeddings, legacy completions and model lists.

    pip install openai==2.54.0
    semblance serve --upstream demo &
    python3 tests/clients/openai_embeddings.py http://127.0.0.1:8080/v1

Exits 0 and prints one line a check, or fails on the first difference.
"""

import struct
import sys
import uuid

import openai

MODEL = "text-embedding-3-small"
PROMPT = "How do I enable two-factor authentication?"


def expect(what, got, wanted):
    """One check."""
    assert got == wanted, f"{what}: {str(got)[:200]}, not {str(wanted)[:200]}"
    print(f"ok  {what}")


def client(base_url):
    """A client in a scope of its own, so that every run starts cold."""
    return openai.OpenAI(base_url=base_url, api_key=f"sk-{uuid.uuid4()}", max_retries=0)


def ask(resource, **options):
    """Outcome and the parsed answer."""
    raw = resource.with_raw_response.create(**options)
    return raw.headers["x-semblance-cache"], raw.parse()


def single(values):
    """Numbers as the f32 they name."""
    return [struct.unpack("<f", struct.pack("<f", value))[0] for value in values]


def embeddings(sdk):
    """Each way of asking, missed and then hit."""
    seen = {}
    for how, options in [
        ("as the SDK asks", {}),
        ("as floats", {"encoding_format": "float"}),
        ("as base64", {"encoding_format": "base64"}),
        ("short ones", {"dimensions": 32}),
    ]:
        # A text of its own for each way: the same one would be a hit already.
        texts = [f"{how}: {n}" for n in range(3)]
        missed, miss = ask(sdk.embeddings, model=MODEL, input=texts, **options)
        found, hit = ask(sdk.embeddings, model=MODEL, input=texts, **options)
        expect(f"embeddings {how}: outcomes", (missed, found), ("miss", "hit-exact"))
        expect(f"embeddings {how}: parsed objects", hit.model_dump(), miss.model_dump())
        seen[how] = (texts, miss)
    texts, asked = seen["as the SDK asks"]
    found, floats = ask(sdk.embeddings, model=MODEL, input=texts, encoding_format="float")
    expect("recorded as base64, asked as floats: outcome", found, "hit-exact")
    expect("the same numbers", [d.embedding for d in floats.data], [d.embedding for d in asked.data])
    texts, asked = seen["as floats"]
    found, other = ask(sdk.embeddings, model=MODEL, input=texts)
    expect("recorded as floats, asked as the SDK asks: outcome", found, "hit-exact")
    expect("the same f32", [d.embedding for d in other.data], [single(d.embedding) for d in asked.data])
    found, alone = ask(sdk.embeddings, model=MODEL, input=texts[1])
    expect("one of a batch alone: outcome", found, "hit-exact")
    expect("its vector", alone.data[0].embedding, other.data[1].embedding)
    found, mixed = ask(sdk.embeddings, model=MODEL, input=[texts[2], "new", texts[0]])
    expect("a batch in part new: outcome", found, "miss")
    expect("its order", [d.index for d in mixed.data], [0, 1, 2])
    expect("what was there", [mixed.data[0].embedding, mixed.data[2].embedding],
           [other.data[2].embedding, other.data[0].embedding])
    outcomes = [ask(sdk.embeddings, model=MODEL, input=tokens)[0] for tokens in ([1, 2], [1, 2], [[1, 2]], "[1,2]")]
    expect("token ids", outcomes, ["miss", "hit-exact", "hit-exact", "miss"])


def completions(sdk):
    """JSON and stream, each recorded and replayed as the other."""
    options = {"model": "gpt-3.5-turbo-instruct", "prompt": PROMPT, "max_tokens": 500}
    missed, miss = ask(sdk.completions, **options)
    found, hit = ask(sdk.completions, **options)
    expect("completions: outcomes", (missed, found), ("miss", "hit-exact"))
    plain = lambda answer: answer.model_dump(exclude={"id", "created"})
    expect("completions: parsed objects", plain(hit), plain(miss))
    found, chunks = ask(sdk.completions, stream=True, **options)
    chunks = list(chunks)
    expect("completions replayed as a stream: outcome", found, "hit-exact")
    expect("its text", "".join(chunk.choices[0].text for chunk in chunks), miss.choices[0].text)
    expect("its end", chunks[-1].choices[0].finish_reason, "stop")
    options["prompt"] += " "
    missed, chunks = ask(sdk.completions, stream=True, **options)
    text = "".join(chunk.choices[0].text for chunk in chunks)
    found, hit = ask(sdk.completions, **options)
    expect("a recorded stream: outcomes", (missed, found), ("miss", "hit-exact"))
    expect("a recorded stream: text", hit.choices[0].text, text)


def models(sdk):
    """The list and one of it."""
    for what, get in [("list", sdk.models.with_raw_response.list),
                      ("one", lambda: sdk.models.with_raw_response.retrieve("gpt-4o-mini"))]:
        miss, hit = get(), get()
        outcomes = [raw.headers["x-semblance-cache"] for raw in (miss, hit)]
        expect(f"models, {what}: outcomes", outcomes, ["miss", "hit-exact"])
        expect(f"models, {what}: parsed objects", hit.parse().model_dump(), miss.parse().model_dump())


def main(base_url):
    """All checks."""
    sdk = client(base_url)
    embeddings(sdk)
    completions(sdk)
    models(sdk)
    try:
        sdk.with_options(max_retries=2).embeddings.create(
            model=MODEL, input=f"new: {uuid.uuid4()}", extra_headers={"cache-control": "only-if-cached"}
        )
        raise AssertionError("only-if-cached on a cold cache must be an error")
    except openai.APIStatusError as error:
        expect("only-if-cached on a cold cache", (error.status_code, error.code), (504, "only_if_cached_miss"))


main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1")
