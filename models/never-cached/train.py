"""Fits the prior that tells personal and live questions from general ones, and writes weights.bin.

    pip install -r ../verifier/requirements.txt
    python train.py

Vectors are those of the embedder (../minilm). Data: policies/*.toml (examples), tests/data/zero-sla/*.jsonl, the seeds of
fixtures/zero-sla-cases.jsonl, and the groups of ../verifier/data (general questions, but for those named in
personal.txt) and general.txt. Seeded; the same data give the same weights up to rounding.
"""

import glob
import hashlib
import json
import os
import random
import struct
import sys
import tomllib

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "verifier"))
import data  # noqa: E402
import net  # noqa: E402

HIDDEN = 64
# Personal questions weigh this much: missing one is the dearer mistake.
PERSONAL_WEIGHT = 6.0
# The share of personal questions that must be told, each unseen by the weights that are asked; it sets the threshold.
TOLD = 0.92
FOLDS = 5


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def listed(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def questions():
    """(text, 1.0 if personal or live, source): questions of one source always share a fold."""
    found = []
    for path in sorted(glob.glob(os.path.join(ROOT, "policies", "*.toml"))):
        with open(path, "rb") as file:
            policy = tomllib.load(file)
        own = float(policy["freshness"]["ttl"] == "0s")
        found += [(text, own, "policy " + text) for text in policy.get("match", {}).get("examples", [])]
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "data", "zero-sla", "*.jsonl"))):
        found += [(line["text"], float(not line.get("cacheable")), "test " + line["text"]) for line in lines(path)]
    for case in lines(os.path.join(ROOT, "fixtures", "zero-sla-cases.jsonl")):
        found.append((case["seed"], float(case["expect"] == "miss"), "case " + case["seed"]))
    named = set(listed("personal.txt"))
    found += [(text, 0.0, "listed " + text) for text in listed("general.txt")]
    r = random.Random(1)
    for group in data.read_groups()[0]:
        own = group["forms"][0] in named
        # Of general questions there are plenty: three wordings of each will do.
        forms = group["forms"] if own else [group["forms"][0], *data.sample(r, group["forms"][1:], 2)]
        found += [(text, float(own), group["id"]) for text in forms]
    return found


def fit(x, y):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(net.WIDTH, HIDDEN), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(HIDDEN, 1))
    with torch.no_grad():
        model[0].weight.mul_(3)  # unit vectors have small entries
    size, epochs = 512, 60
    optimiser = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=0.3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=epochs * (len(y) // size))
    for _ in range(epochs):
        order = torch.randperm(len(y))
        for k in range(0, len(y) // size * size, size):
            pick = order[k : k + size]
            weight = torch.where(y[pick] > 0, PERSONAL_WEIGHT, 1.0)
            loss = (F.binary_cross_entropy_with_logits(model(x[pick])[:, 0], y[pick], reduction="none") * weight).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def main():
    torch.set_num_threads(2)
    found = questions()
    x = torch.tensor(data.embed([text for text, *_ in found], net.base_encoder().eval(), net.tokenizer(), fast=False))
    y = torch.tensor([own for _, own, _ in found])
    fold = np.array([hashlib.md5(source.encode()).digest()[0] % FOLDS for *_, source in found])
    written = torch.tensor(["/" not in source for *_, source in found])  # wordings written for this task alone
    z = torch.zeros(len(y))
    for part in range(FOLDS):
        model = fit(x[fold != part], y[fold != part])
        z[fold == part] = model(x[fold == part])[:, 0].detach()
    threshold = float(torch.quantile(z[(y > 0) & written], 1 - TOLD))
    told, alarms = (z[y > 0] >= threshold).float().mean(), (z[y == 0] >= threshold).float().mean()
    print(f"personal {int(y.sum())}, general {int((1 - y).sum())}; unseen: told {TOLD} of those written for this, {told:.3f} of all; false alarms {alarms:.3f}; threshold {threshold:.3f}")
    model = fit(x, y)
    numbers = [*model[0].weight.flatten().tolist(), *model[0].bias.tolist(), *model[3].weight[0].tolist(), model[3].bias.item() - threshold]
    with open(os.path.join(HERE, "weights.bin"), "wb") as file:
        file.write(struct.pack(f"<{len(numbers)}f", *numbers))


main()
