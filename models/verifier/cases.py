"""Writes held-out groups as replay cases: `python cases.py --pairs FOLDER --out FILE [--split test]`.

Each wording of a near miss and each other form is asked once against the first form. Ids are `group/f1` and
`group/n0.1`, as bars.py reads them. Replay them with `--policies policies/`, where everything may be matched by meaning.
"""

import argparse
import json
import os


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--pairs", default="pairs")
    ap.add_argument("--out", default="cases.jsonl")
    ap.add_argument("--split", nargs="*", default=["dev", "test"])
    o = ap.parse_args()
    parts = json.load(open(os.path.join(o.pairs, "groups.json"), encoding="utf-8"))
    with open(o.out, "w", encoding="utf-8") as out:
        for number, g in enumerate(g for name in o.split for g in parts[name]):
            seed, name = g["forms"][0], f"{number}-{g['id'].replace('/', '.')}"
            cases = [(f"{name}/f{i}", s, "hit", "paraphrase") for i, s in enumerate(g["forms"][1:], 1)]
            cases += [(f"{name}/n{k}.{i}", s, "miss", n["kind"]) for k, n in enumerate(g["near"]) for i, s in enumerate(n["forms"])]
            for id, ask, expect, kind in cases:
                out.write(json.dumps({"id": id, "seed": seed, "ask": ask, "expect": expect, "kind": kind}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
