"""Averages the weights of several trainings: `python soup.py --pairs FOLDER --out FILE CHECKPOINT...`.

Trainings that began at the same weights end near enough for their mean to be as good as or better than each (Wortsman
et al., Model soups, 2022). Writes the mean, or the best single one when that is better on the dev split.
"""

import argparse
import json
import os

import torch

import data
import net
import score


def probe(path):
    return [(x["a"], x["b"], x["label"]) for x in map(json.loads, open(path, encoding="utf-8"))]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--pairs", default="pairs")
    ap.add_argument("--out", default="run/mean.pt")
    ap.add_argument("--probe", nargs="*", default=[], help="JSON lines of a, b, label to report on; they decide nothing")
    ap.add_argument("checkpoints", nargs="+")
    o = ap.parse_args()
    parts = json.load(open(os.path.join(o.pairs, "groups.json")))
    sets = {name: data.test_pairs(parts[name]) for name in ("dev", "test")} | {os.path.basename(p): probe(p) for p in o.probe}
    tok, model = net.tokenizer(), net.Verifier()
    model.enc = net.base_encoder()
    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    states = [torch.load(p, weights_only=True) for p in o.checkpoints]
    mean = {k: sum(s[k].float() for s in states).div(len(states)).half() for k in states[0]}
    best = None
    for name, state in [*zip(o.checkpoints, states), ("mean", mean)]:
        model.load_state_dict(state, strict=False)
        found = {n: score.logits(model, tok, pairs) for n, pairs in sets.items()}
        for n, z in found.items():
            print(name, n, score.short(z, sets[n]), flush=True)
        value = score.hits_at(found["dev"], [p[2] for p in sets["dev"]], 0.01) + score.auc(found["dev"], [p[2] for p in sets["dev"]])
        if best is None or value >= best[0]:
            best = (value, name, state)
    print("kept", best[1])
    torch.save(best[2], o.out)


if __name__ == "__main__":
    main()
