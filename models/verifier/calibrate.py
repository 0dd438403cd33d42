"""Packs a checkpoint and measures what its scores mean: `python calibrate.py CHECKPOINT`.

Writes verifier.bin (int8 storage) and calibration.json beside this file. The
scale and shift that turn a logit into p are fitted on the dev split; the bars
are read off dev and test together, both scored with the packed weights.
A pair counts so that every near miss and every question's paraphrases weigh the
same, and the two labels weigh the same: p is honest for a candidate that is as
likely a near miss as a paraphrase.

The bars are the verifier's alone: behind the guard, which only refuses, they are stricter than need be.
"""

import argparse
import json
import os
import pathlib
import random
import re
import sys

import blake3
import numpy as np
import torch

import bars
import data
import net
import score

sys.path.insert(0, os.path.join(data.HERE, ".."))
import export  # noqa: E402



def pack(model, out):
    """Writes the weights as the gateway reads them, and puts what was rounded back into `model`."""
    state = {k: v.numpy() for k, v in net.to_bert_names(model.state_dict()).items()}
    state |= {"head.weight": model.head.weight.detach().numpy(), "head.bias": model.head.bias.detach().numpy()}
    digest = export.export(state, pathlib.Path(out), name="verifier", head="logit", window=net.WINDOW)
    with torch.no_grad():
        for name, p in model.named_parameters():
            word = name == "enc.word.weight"
            if p.ndim == 2 and (word or name.startswith("enc.layers.")):
                m = p.numpy() if word else p.numpy().T
                axis = 0 if word else 1
                back = export.dequantise(*export.quantise(m, axis), axis)
                p.copy_(torch.from_numpy(np.ascontiguousarray(back if word else back.T)))
    return digest


def weights(pairs):
    """Weights by which each near miss, each group's paraphrases, and both labels count alike."""
    count = {}
    keys = [(p[4], p[3], p[5]) for p in pairs]
    for k in keys:
        count[k] = count.get(k, 0) + 1
    w = np.array([1 / count[k] for k in keys])
    y = np.array([p[2] for p in pairs])
    for label in (0, 1):
        w[y == label] /= w[y == label].sum() * 2
    return w


def fit(z, y, w):
    """Scale, extra scale above zero, and shift of the logistic curve of least log loss (Newton's method).

    One slope would leave the sure pairs less sure than they are.
    """
    x, t = features(z), np.array([1.0, 0.0, 0.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ t))
        t -= np.linalg.solve((x * (w * p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(3), x.T @ (w * (p - y)))
    return t


def features(z):
    return np.stack([z, np.maximum(z, 0), np.ones_like(z)], 1)


def ece(p, y, w, bins=15):
    """Weighted expected calibration error."""
    at = np.minimum((p * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        k = at == b
        if k.any():
            total += abs((w[k] * (p[k] - y[k])).sum())
    return float(total / w.sum())


def own_bars(p, pairs, w):
    """[budget, bar] for each budget that the data can vouch for.

    The wrong share of what is served is bounded: near misses served (upper bound over near misses, each counted once)
    against paraphrases served.
    """
    y = np.array([x[2] for x in pairs])
    n = len({(x[4], x[3], x[5]) for x in pairs if not x[2]})
    out = []
    grid = np.unique(np.round(np.concatenate([np.linspace(0.3, 0.98, 69), 1 - np.logspace(-1.7, -4, 60)]), 5))
    for budget in bars.BUDGETS:
        for bar in grid:
            wrong = (w[(y == 0) & (p >= bar)]).sum() * 2
            right = (w[(y == 1) & (p >= bar)]).sum() * 2
            top = bars.upper(wrong * n, n)
            if right > 0 and top / (top + right) <= budget:
                out.append([budget, float(bar), round(float(wrong), 5), round(float(right), 4)])
                break
    return out, n


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--data", default=os.path.join(data.HERE, "data"))
    ap.add_argument("--pairs", default="pairs", help="the folder that prepare.py wrote")
    ap.add_argument("--groups", type=int, default=300, help="groups scored of each held-out split, at most")
    ap.add_argument("--out", default=data.HERE)
    o = ap.parse_args()
    torch.set_num_threads(o.threads)
    score.FAST = False  # the gateway computes in fp32
    tok, model = net.tokenizer(), net.load(o.checkpoint)
    with open(os.path.join(o.pairs, "groups.json"), encoding="utf-8") as f:
        parts = json.load(f)
    tests = {name: data.test_pairs(data.sample(random.Random(1), parts[name], o.groups)) for name in ("dev", "test")}
    some = random.Random(1).sample(range(len(tests["test"])), min(1500, len(tests["test"])))
    few = [tests["test"][i] for i in some]
    before = score.logits(model, tok, few)
    digest = pack(model, os.path.join(o.out, "verifier.bin"))
    z = {name: score.logits(model, tok, pairs) for name, pairs in tests.items()}
    y = {name: np.array([p[2] for p in pairs]) for name, pairs in tests.items()}
    w = {name: weights(pairs) for name, pairs in tests.items()}
    after, both = z["test"][some], score.logits(model, tok, few, both=True)
    print("some, fp32 weights:", score.short(before, few))
    print("some, int8 storage:", score.short(after, few), f"mean change of a logit {np.abs(before - after).mean():.3f}")
    print("some, both orders: ", score.short(both, few))
    print("test, int8 storage:", score.short(z["test"], tests["test"]))
    print("dev,  int8 storage:", score.short(z["dev"], tests["dev"]))
    curve = fit(z["dev"], y["dev"], w["dev"])
    p = {name: 1 / (1 + np.exp(-features(z[name]) @ curve)) for name in z}
    lengths = np.array([len(tok.encode(a).ids) + len(tok.encode(b).ids) - 1 for a, b, *_ in tests["test"]])
    whole = ece(p["test"], y["test"], w["test"])
    print(f"scale {curve[0]:.4f}, above zero {curve[1]:.4f} more, shift {curve[2]:.4f} ECE dev {ece(p['dev'], y['dev'], w['dev']):.4f} test {whole:.4f}")
    by_length = {}
    for lo, hi in ((0, 24), (24, 36), (36, 600)):
        k = (lengths >= lo) & (lengths < hi)
        by_length[f"{lo}-{hi}"] = [int(k.sum()), round(ece(p["test"][k], y["test"][k], w["test"][k]), 4)]
    print("by tokens of the pair", by_length)
    differ = np.array([sorted(c for c in a if c.isdigit()) != sorted(c for c in b if c.isdigit()) for a, b, *_ in tests["test"]])
    for name, k in (("digits differ", differ), ("digits agree", ~differ)):
        print(name, int(k.sum()), f"ECE {ece(p['test'][k], y['test'][k], w['test'][k]):.4f}")
    everything = tests["dev"] + tests["test"]
    table, n = own_bars(np.concatenate([p["dev"], p["test"]]), everything, weights(everything))
    for row in table:
        print("budget %.3f bar %.5f near misses served %.4f paraphrases hit %.4f" % tuple(row))
    files = sorted(pathlib.Path(o.data).glob("*.jsonl"))
    sums = blake3.blake3(b"".join(blake3.blake3(f.read_bytes()).digest() for f in files)).hexdigest()
    guard = pathlib.Path(data.HERE, "../../src/matcher/guard.rs")
    version = int(re.search(r"VERSION: u32 = (\d+)", guard.read_text()).group(1)) if guard.exists() else 1
    card = {
        "model": digest, "guard": version, "data": sums, "scale": round(curve[0], 6), "steeper": round(curve[1], 6), "shift": round(curve[2], 6), "orders": 1, "window": net.WINDOW,
        "ece": round(whole, 4), "near_misses": n, "groups": {k: len(v) for k, v in parts.items()},
        "bars": [row[:2] for row in table],
    }
    with open(os.path.join(o.out, "calibration.json"), "w") as f:
        json.dump(card, f, indent=2)
        f.write("\n")


if __name__ == "__main__":
    main()
