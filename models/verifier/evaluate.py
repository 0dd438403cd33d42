"""Figures of a checkpoint: `python evaluate.py CHECKPOINT [--checklist FILE] [--quora FILE]`.

The optional files are for evaluation only: JSON lines of `a`, `b`, `label` (and `kind`).
"""

import argparse
import collections
import json
import os

import numpy as np
import torch

import data
import net
import score


def kinds_report(z, pairs):
    """Each kind of near miss against all same pairs: AUC and the share that passes at the bar of 1 % overall."""
    y = np.array([p[2] for p in pairs])
    kind = np.array([p[3] for p in pairs])
    bar = np.quantile(z[y == 0], 0.99)
    for k, n in collections.Counter(kind[y == 0]).most_common():
        pick = (kind == k) & (y == 0)
        both = pick | (y == 1)
        print(f"    {k:14s} n {n:5d} auc {score.auc(z[both], y[both]):.4f} served at the 1% bar {(z[pick] > bar).mean():.4f}")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint")
    ap.add_argument("--checklist")
    ap.add_argument("--quora")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--data", default=os.path.join(data.HERE, "data"))
    ap.add_argument("--split", default="test")
    ap.add_argument("--worst", type=int, default=0)
    ap.add_argument("--both", action="store_true", help="also score the mean of both orders")
    o = ap.parse_args()
    torch.set_num_threads(o.threads)
    tok, base = net.tokenizer(), net.base_encoder().eval()
    model = net.load(o.checkpoint)
    groups, _ = data.read_groups(o.data)
    parts = data.split_groups(groups, base, tok)
    pairs = data.test_pairs(parts[o.split])
    z = score.logits(model, tok, pairs)
    print(f"{o.split}: {len(parts[o.split])} groups", score.short(z, pairs), flush=True)
    by = collections.defaultdict(list)
    for i, p in enumerate(pairs):
        by[p[4].split("/")[0]].append(i)
    for name, idx in sorted(by.items()):
        print(f"  {name:20s}", score.short(z[idx], [pairs[i] for i in idx]))
    kinds_report(z, pairs)
    if o.both:
        print("both orders:", score.short(score.logits(model, tok, pairs, both=True), pairs), flush=True)
    worst = sorted(range(len(pairs)), key=lambda i: z[i] if pairs[i][2] else -z[i])
    for same in (0, 1):
        for i in [i for i in worst if pairs[i][2] == same][: o.worst]:
            print(f"  {z[i]:6.2f}", pairs[i][2:4], pairs[i][0], "|", pairs[i][1])
    for name in ("checklist", "quora"):
        if path := getattr(o, name):
            rows = [json.loads(line) for line in open(path)]
            pairs = [(x["a"], x["b"], x["label"], x.get("kind", ""), "") for x in rows]
            z = score.logits(model, tok, pairs)
            print(name, score.short(z, pairs))
            if name == "checklist":
                y = np.array([p[2] for p in pairs])
                tests = collections.defaultdict(list)
                for i, x in enumerate(rows):
                    tests[x["kind"], x["label"], x["test"][:70]].append(i)
                for (k, label, t), idx in sorted(tests.items()):
                    against = np.concatenate([np.array(idx), np.where(y != label)[0]])
                    print(f"    {k:12s} {label} {t:70s} auc {score.auc(z[against], y[against]):.3f} mean {z[idx].mean():.2f}")


if __name__ == "__main__":
    main()
