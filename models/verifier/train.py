"""Trains the verifier from the base model: `python train.py [--pairs FOLDER] [--out FOLDER]`; seeded; a GPU when there is one.

The pairs are those of prepare.py, which is run when the folder is missing. Writes `mean.pt`: the running mean of the
weights over the last half, in half precision, without the word table when that was left as it is.
"""

import argparse
import glob
import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import net
import score

SEED = 20


def read_shard(path, device):
    z = np.load(path)
    return {k: torch.from_numpy(z[k].astype(np.int32)).to(device) for k in ("ids", "kinds", "lengths", "same")}


def batches(r, lengths, tokens, most):
    """Index batches of about equal length, at most `tokens` tokens and `most` pairs each, in random order."""
    order, out = list(range(len(lengths))), []
    r.shuffle(order)
    for k in range(0, len(order), most * 32):
        chunk = sorted(order[k : k + most * 32], key=lengths.__getitem__)
        while chunk:
            n = max(1, min(most, tokens // lengths[chunk[-1]]))
            out.append(chunk[-n:])
            del chunk[-n:]
    r.shuffle(out)
    return out


def gather(shard, starts, index):
    """Ids, mask and token types of some pairs of a shard, padded to the longest."""
    length = shard["lengths"][index]
    at = torch.arange(-(-int(length.max()) // 8) * 8, device=length.device)[None, :]
    mask = at < length[:, None]
    where = (starts[index][:, None] + at).clamp(max=len(shard["ids"]) - 1)
    return shard["ids"][where] * mask, mask, shard["kinds"][where] * mask


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--pairs", default="pairs")
    ap.add_argument("--out", default="run")
    ap.add_argument("--passes", type=float, default=1.0, help="times through all shards")
    ap.add_argument("--seconds", type=float, default=0, help="end early, with the rate decayed to match, after about this long")
    ap.add_argument("--rate", type=float, default=1e-4)
    ap.add_argument("--batch", type=int, default=256)
    ap.add_argument("--drop", type=float, default=0.1)
    ap.add_argument("--decay", type=float, default=0.01)
    ap.add_argument("--words", action="store_true", help="train the word table too")
    ap.add_argument("--plain", action="store_true", help="no marks on shared tokens")
    ap.add_argument("--seed", type=int, default=SEED)
    o = ap.parse_args()
    os.makedirs(o.out, exist_ok=True)
    if not glob.glob(os.path.join(o.pairs, "pairs-*.npz")):
        subprocess.run([sys.executable, os.path.join(data.HERE, "prepare.py"), "--out", o.pairs], check=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(o.seed)
    r = random.Random(o.seed)
    tok, model = net.tokenizer(), net.Verifier()
    model.enc = net.base_encoder()
    model.to(device)
    parts = json.load(open(os.path.join(o.pairs, "groups.json")))
    if not o.words:
        model.enc.word.weight.requires_grad_(False)
    types, head = model.enc.kind.weight, list(model.head.parameters())
    apart = {id(p) for p in [types, *head]}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
    fast = [dict(params=[types], lr=max(o.rate, 5e-4)), dict(params=head, lr=max(o.rate, 5e-4))]
    opt = torch.optim.AdamW([dict(params=rest, lr=o.rate), *fast], weight_decay=o.decay, fused=True)
    base = [g["lr"] for g in opt.param_groups]
    names = sorted(glob.glob(os.path.join(o.pairs, "pairs-*.npz")), key=lambda p: int(p.rsplit("-", 1)[1][:-4]))
    total = max(1, round(o.passes * len(names)))
    dev = data.test_pairs(parts["dev"])
    avg, began, step, seen, run = None, time.time(), 0, 0, []
    print(o.out, vars(o), flush=True)
    for turn in range(total):
        shard = read_shard(names[turn % len(names)], device)
        if o.plain:
            shard["kinds"] &= 1
        starts = torch.cumsum(shard["lengths"], 0) - shard["lengths"]
        plan = batches(r, shard["lengths"].tolist(), o.batch * 48, o.batch)
        for n, b in enumerate(plan):
            done = max((turn + n / len(plan)) / total, (time.time() - began) / o.seconds if o.seconds else 0)
            if done >= 1:
                break
            for g, lr in zip(opt.param_groups, base):
                g["lr"] = lr * (min(1, (step + 1) / 300) * (1 - done) + 0.005)
            b = torch.tensor(b, device=device)
            with torch.autocast(device, dtype=torch.bfloat16):
                model.train()
                logit = model(*gather(shard, starts, b), o.drop)
            loss = F.binary_cross_entropy_with_logits(logit.float(), shard["same"][b].float())
            opt.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(rest, 1.0)
            opt.step()
            seen, step = seen + len(b), step + 1
            if done > 0.5 and step % 4 == 0:
                new = {k: v.detach() for k, v in model.state_dict().items() if o.words or k != "enc.word.weight"}
                avg = {k: v.clone() for k, v in new.items()} if avg is None else mix(avg, new, 0.995)
            if step % 25 == 0:
                run.append(loss.item())
        if done >= 1:
            break
        if turn % max(1, total // 3) == 0 or turn == total - 1:
            wall = time.time() - began
            few = random.Random(1).sample(dev, min(4000, len(dev)))
            text = score.short(score.logits(model, tok, few), few)
            print(f"{o.out} {turn + 1}/{total} pairs {seen} loss {np.mean(run[-100:]):.4f} wall {wall:.0f} s, {seen / wall:.0f} a second; dev {text}", flush=True)
    if avg is None:
        avg = {k: v.detach() for k, v in model.state_dict().items() if o.words or k != "enc.word.weight"}
    model.load_state_dict(avg, strict=False)
    torch.save({k: v.half().cpu() for k, v in avg.items()}, os.path.join(o.out, "mean.pt"))
    print(f"{o.out} mean: dev {score.short(score.logits(model, tok, dev), dev)}, {time.time() - began:.0f} s", flush=True)


def mix(old, new, keep):
    for k, v in old.items():
        v.mul_(keep).add_(new[k], alpha=1 - keep)
    return old


if __name__ == "__main__":
    main()
