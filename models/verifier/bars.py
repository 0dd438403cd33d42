"""The bars that p must reach, measured behind the guard: `python bars.py RECORDS`.

RECORDS is what `semblance replay --records` wrote for groups that were never trained on, under policies that let every
case be matched by meaning. A pair that guard or retrieval refused was never served, whatever p would have been: that is
why the bars are lower than those of the verifier alone. Writes them, with the guard's version, into calibration.json.

Every near miss and every group's paraphrases weigh the same; together paraphrases weigh MIX times the near misses. A bar keeps a budget when
the wrong share of what is served is as likely below it as above (the one-sided 50 % Clopper-Pearson bound over near
misses, against the paraphrases served); `measured` holds the 95 % bound beside it. Bars never rise with the budget.
"""

import argparse
import collections
import json
import math
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
# Paraphrases for each near miss among the neighbours that a question finds. Unknown for traffic nobody has seen: audits
# measure what a category really serves wrongly, and stop it.
MIX = 2
BUDGETS = [0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001]


def upper(bad, n, sure=0.95):
    """Largest share that is still believable when `bad` (may be fractional) of `n` were seen."""
    lo, hi = bad / n, 1.0
    for _ in range(60):
        mid = (lo + hi) / 2
        total, choose = 0.0, 0.0
        for k in range(math.ceil(bad) + 1):
            total += math.exp(choose + k * math.log(mid) + (n - k) * math.log1p(-min(mid, 1 - 1e-12)))
            choose += math.log((n - k) / (k + 1)) if k < n else 0.0
        lo, hi = (mid, hi) if total > 1 - sure else (lo, mid)
    return hi


def weighed(records):
    """(p, same, weight) of each record; weights of either label sum to 1. Ids are `group/f1` and `group/n0.1`."""
    keys = [r["id"] if "/" not in r["id"] else re.sub(r"/f\d+$|\.\d+$", "", r["id"]) for r in records]
    same = [r["expect"] != "miss" for r in records]
    count = collections.Counter(zip(keys, same))
    raw = [1 / count[k, s] for k, s in zip(keys, same)]
    total = {label: sum(w for w, s in zip(raw, same) if s == label) for label in (True, False)}
    rows = [(r.get("p_same", -1.0), s, w / total[s]) for r, s, w in zip(records, same, raw)]
    return rows, len({k for k, s in zip(keys, same) if not s})


def table(rows, near_misses, sure):
    """[budget, bar, near misses served, paraphrases hit, 95 % bound of the wrong share] for each budget that the data can vouch for."""
    levels = sorted({round(p, 6) for p, _, _ in rows if p >= 0.3})
    step = max(1, len(levels) // 400)
    out = []
    for budget in BUDGETS:
        for bar in levels[::step] + levels[-1:]:
            wrong = sum(w for p, same, w in rows if not same and p >= bar)
            right = sum(w for p, same, w in rows if same and p >= bar)
            top = upper(wrong * near_misses, near_misses, sure)
            if right > 0 and top / (top + MIX * right) <= budget:
                worst = upper(wrong * near_misses, near_misses)
                out.append([budget, bar, round(wrong, 5), round(right, 4), round(worst / (worst + MIX * right), 4)])
                break
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("records", nargs="+")
    ap.add_argument("--calibration", default=HERE / "calibration.json")
    ap.add_argument("--sure", type=float, default=0.5, help="confidence with which a bar keeps its budget")
    o = ap.parse_args()
    records = [json.loads(line) for path in o.records for line in open(path, encoding="utf-8") if line.strip()]
    guard = (HERE / "../../src/matcher/guard.rs").read_text()
    rows, near_misses = weighed(records)
    lines = table(rows, near_misses, o.sure)
    for line in lines:
        print("budget %.3f bar %.6f near misses served %.5f paraphrases hit %.4f wrong share at most %.4f" % tuple(line))
    card = json.loads(pathlib.Path(o.calibration).read_text())
    card["guard"] = int(re.search(r"VERSION: u32 = (\d+)", guard).group(1))
    card["near_misses"] = near_misses
    card["bars"] = [line[:2] for line in lines]
    card["measured"] = [
        {"budget": b, "near_misses_served": w, "paraphrases_hit": r, "wrong_share_bound_95": worst} for b, _, w, r, worst in lines
    ]
    pathlib.Path(o.calibration).write_text(json.dumps(card, indent=2) + "\n")


if __name__ == "__main__":
    main()
