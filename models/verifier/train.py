"""Trains the verifier: `python train.py [--out FOLDER]`; resumes nothing, seeded, CPU only."""

import argparse
import json
import os
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

import data
import net
import score

SEED = 20


def batches(r, rows, size):
    """Index batches of about equal length, in random order."""
    idx, out = list(range(len(rows))), []
    r.shuffle(idx)
    for k in range(0, len(idx), size * 64):
        chunk = sorted(idx[k : k + size * 64], key=lambda i: len(rows[i][0]))
        part = []
        for j in range(0, len(chunk), size):
            b = chunk[j : j + size]
            # Long rows go in smaller batches, so that a step costs about the same.
            longest = len(rows[b[-1]][0])
            half = size // 8 if longest > 240 else size // 2 if longest > 72 else size
            part += [b[i : i + half] for i in range(0, len(b), half)]
        r.shuffle(part)
        out += part
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--out", default="out")
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--rate", type=float, default=5e-5)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--drop", type=float, default=0.05)
    ap.add_argument("--share", type=float, default=0.25)
    ap.add_argument("--seconds", type=float, default=0, help="end early, with the rate decayed to match, after about this long")
    ap.add_argument("--start", help="a checkpoint to start from")
    ap.add_argument("--reload", action="store_true", help="read the groups anew at each epoch, for data still being written")
    ap.add_argument("--data", default=os.path.join(data.HERE, "data"))
    o = ap.parse_args()
    os.makedirs(o.out, exist_ok=True)
    torch.set_num_threads(o.threads)
    torch.manual_seed(SEED)
    r = random.Random(SEED)
    tok, model = net.tokenizer(), net.Verifier()
    model.enc = net.base_encoder()
    model.eval()
    groups, dropped = data.read_groups(o.data)
    start = torch.load(o.start, weights_only=True) if o.start else {"trained": []}
    parts = data.split_groups(groups, model.enc, tok, set(start["trained"]))
    trained = sorted({data.fold(g["forms"][0]) for g in parts["train"]} | set(start["trained"]))
    print("groups", {k: len(v) for k, v in parts.items()}, "dropped", len(dropped), dropped[:5], flush=True)
    if o.start:
        model.load_state_dict(start["model"])
    model.enc.word.weight.requires_grad_(False)
    body = [p for p in model.enc.parameters() if p.requires_grad]
    opt = torch.optim.AdamW([dict(params=body, lr=o.rate), dict(params=model.head.parameters(), lr=1e-3)], weight_decay=0.01, fused=True)
    base = [g["lr"] for g in opt.param_groups]
    dev = data.test_pairs(parts["dev"])
    dev = random.Random(1).sample(dev, min(2500, len(dev)))
    avg, t0, step, seen, run = None, time.time(), 0, 0, []
    first = data.epoch_pairs(random.Random(SEED), parts["train"], groups, "train", o.share)
    total = len(first) * o.epochs
    print("pairs an epoch", len(first), flush=True)
    for epoch in range(o.epochs):
        er = random.Random(SEED * 1000 + epoch)
        if epoch and o.reload:
            groups, _ = data.read_groups(o.data)
            parts = data.split_groups(groups, net.base_encoder().eval(), tok, set(trained))
            trained = sorted({data.fold(g["forms"][0]) for g in parts["train"]} | set(trained))
            print("groups", {k: len(v) for k, v in parts.items()}, flush=True)
        pairs = data.epoch_pairs(er, parts["train"], groups, "train", o.share)
        if epoch == 0:
            count = {}
            for *_, y, f in pairs:
                count.setdefault(f, [0, 0])[y] += 1
            print("families (different, same)", count, flush=True)
        rows = net.pair_ids(tok, [p[0] for p in pairs], [p[1] for p in pairs], net.WINDOW)
        same = torch.tensor([float(p[2]) for p in pairs])
        for b in batches(er, rows, o.batch):
            done = max(seen / total, (time.time() - t0) / o.seconds if o.seconds else 0)
            if done >= 1:
                break
            rate = min(1, (step + 1) / 150) * (1 - done) + 0.01
            for g, lr in zip(opt.param_groups, base):
                g["lr"] = lr * rate
            model.train()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logit = model(*net.pad([rows[i] for i in b]), o.drop)
            loss = F.binary_cross_entropy_with_logits(logit.float(), same[b])
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(body, 1.0)
            opt.step()
            seen, step = seen + len(b), step + 1
            run.append(loss.item())
            if done > 0.5:
                avg = {k: v.clone() for k, v in model.state_dict().items()} if avg is None else ema(avg, model.state_dict(), 0.998)
            if step % 100 == 0:
                wall = time.time() - t0
                print(f"{seen}/{total} epoch {epoch} loss {np.mean(run[-100:]):.4f} wall {wall:.0f} pairs/s {seen / wall:.1f}", flush=True)
            if step % 200 == 0:
                torch.save({"model": model.state_dict(), "seen": seen, "trained": trained}, os.path.join(o.out, "last.pt"))
            if step % 2000 == 0:
                print("dev", score.short(score.logits(model, tok, dev), dev), flush=True)
    torch.save({"model": model.state_dict(), "seen": seen, "trained": trained}, os.path.join(o.out, "last.pt"))
    print("last ", score.short(score.logits(model, tok, dev), dev), flush=True)
    if avg is not None:
        model.load_state_dict(avg)
        print("mean ", score.short(score.logits(model, tok, dev), dev), flush=True)
    torch.save({"model": model.state_dict(), "seen": seen, "trained": trained}, os.path.join(o.out, "mean.pt"))
    print("done", seen, f"{time.time() - t0:.0f} s", flush=True)


def ema(old, new, keep):
    for k, v in old.items():
        if k != "enc.word.weight":
            v.mul_(keep).add_(new[k], alpha=1 - keep)
    return old


if __name__ == "__main__":
    main()
