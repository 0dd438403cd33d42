"""Makes the training pairs: `python prepare.py --out FOLDER [--epochs N]`; seeded, uses every core.

Writes `groups.json` (the three splits) and one `pairs-N.npz` a shard: ids of all pairs end to end, token types,
lengths, labels and families. An epoch is `SHARDS` shards, each with all pairs of its share of the groups, newly drawn.
"""

import argparse
import json
import multiprocessing
import os
import random
import time

import numpy as np
import torch

import data
import net

SEED, SHARDS = 20, 8
FAMILIES = ["form", "near", "cross", "mined", "keep", "turn", "rename", "word", "frame", "slot", "clean", "chatter", "several"]
STATE = {}


def setup(parts, groups, share):
    torch.set_num_threads(1)
    STATE.update(parts=parts, groups=groups, share=share, tok=net.tokenizer())


def shard(job):
    """Draws and writes one shard; returns how many pairs of either label each family has."""
    n, out = job
    epoch, part = divmod(n, SHARDS)
    r = random.Random(SEED * 100_000 + n)
    mine = [g for i, g in enumerate(STATE["parts"]["train"]) if (i + epoch) % SHARDS == part]
    pairs = data.epoch_pairs(r, mine, STATE["groups"], "train", STATE["share"])
    rows = net.pair_ids(STATE["tok"], [p[0] for p in pairs], [p[1] for p in pairs], net.WINDOW)
    np.savez(
        os.path.join(out, f"pairs-{n}.npz"),
        ids=np.concatenate([np.array(i, np.uint16) for i, _ in rows]),
        kinds=np.concatenate([np.array(k, np.uint8) for _, k in rows]),
        lengths=np.array([len(i) for i, _ in rows], np.uint16),
        same=np.array([p[2] for p in pairs], np.uint8),
        family=np.array([FAMILIES.index(p[3]) for p in pairs], np.uint8),
    )
    return np.array([[sum(p[3] == f and p[2] == y for p in pairs) for y in (0, 1)] for f in FAMILIES])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", default="pairs")
    ap.add_argument("--epochs", type=int, default=6)
    ap.add_argument("--share", type=float, default=0.25, help="pairs from frames, for each pair from groups")
    ap.add_argument("--data", default=os.path.join(data.HERE, "data"))
    o = ap.parse_args()
    os.makedirs(o.out, exist_ok=True)
    began = time.time()
    groups, dropped = data.read_groups(o.data)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = data.split_groups(groups, net.base_encoder().eval().to(device), net.tokenizer())
    with open(os.path.join(o.out, "groups.json"), "w") as f:
        json.dump(parts, f)
    print("groups", {k: len(v) for k, v in parts.items()}, "dropped", len(dropped), dropped[:5], f"{time.time() - began:.0f} s", flush=True)
    counts = 0
    with multiprocessing.get_context("spawn").Pool(initializer=setup, initargs=(parts, groups, o.share)) as pool:
        jobs = [(n, o.out) for n in range(o.epochs * SHARDS)]
        for done, count in enumerate(pool.imap_unordered(shard, jobs), 1):
            counts = counts + count
            print(f"\rshard {done}/{len(jobs)}", end="", flush=True)
    print(f"\n{counts.sum()} pairs (different, same)", {f: c.tolist() for f, c in zip(FAMILIES, counts)}, f"{time.time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
