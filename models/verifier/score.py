"""Figures of a verifier on labelled pairs."""

import numpy as np
import torch

import net


def logits(model, tok, pairs, both=False, batch=128, limit=net.WINDOW):
    """One logit a pair (first two fields), or the mean of both orders."""
    model.eval()

    def one(left, right):
        rows = net.pair_ids(tok, left, right, limit)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
        out = np.zeros(len(rows), np.float64)
        device = model.head.weight.device
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=FAST):
            for k in range(0, len(order), batch):
                b = order[k : k + batch]
                out[b] = model(*(x.to(device) for x in net.pad([rows[i] for i in b]))).float().cpu().numpy()
        return out

    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    z = one(a, b)
    return (z + one(b, a)) / 2 if both else z


FAST = True


def auc(z, y):
    """Area under the ROC curve, ties halved."""
    y = np.asarray(y).astype(bool)
    _, rank, count = np.unique(z, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[rank]
    n, m = y.sum(), (~y).sum()
    return float((ranks[y].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


def hits_at(z, y, budget):
    """Share of same pairs at or above the bar at which `budget` of the different ones pass."""
    y = np.asarray(y).astype(bool)
    no = np.sort(z[~y])[::-1]
    k = int(budget * len(no))
    bar = no[k] if k < len(no) else -np.inf
    return float((z[y] > bar).mean())


def ece(p, y, bins=15):
    """Expected calibration error over equal-width bins."""
    y = np.asarray(y, float)
    at = np.minimum((p * bins).astype(int), bins - 1)
    return float(sum(abs(p[at == b].mean() - y[at == b].mean()) * (at == b).mean() for b in range(bins) if (at == b).any()))


def short(z, pairs):
    y = np.array([p[2] for p in pairs])
    return f"auc {auc(z, y):.4f} hits at 1% {hits_at(z, y, 0.01):.3f} at 0.2% {hits_at(z, y, 0.002):.3f} at 5% {hits_at(z, y, 0.05):.3f} n {len(y)}"
