"""Writes sisters.txt from WordNet's files: `python sisters.py DICT`, where DICT holds data.noun and index.sense.

A sister of a word has the same direct hypernym in the word's commonest sense (nouns, verbs), or is its antonym or the
antonym of a near synonym (adjectives): put in a question it makes a near miss. Words of one synset are never sisters.
Only words that the training groups use, and sisters that WordNet's tagged texts use.
"""

import collections
import os
import re
import sys

import data

MOST = 12


def synsets(folder, part):
    """offset -> (words, hypernyms and instance hypernyms, antonyms' offsets, similar)"""
    out = {}
    for line in open(os.path.join(folder, f"data.{part}"), encoding="utf-8"):
        if line.startswith(" "):
            continue
        f = line.split(" | ")[0].split()
        n = int(f[3], 16)
        words = [re.sub(r"\(\w+\)$", "", f[4 + 2 * i]).lower() for i in range(n)]
        at = 4 + 2 * n
        links = [(f[at + 1 + 4 * i], f[at + 2 + 4 * i]) for i in range(int(f[at]))]
        out[f[0]] = (words, [o for s, o in links if s in ("@", "@i")], [o for s, o in links if s == "!"], [o for s, o in links if s == "&"])
    return out


def main():
    folder = sys.argv[1]
    used = collections.Counter()
    for g in data.read_groups()[0]:
        if g["id"].split("/")[0]:
            used.update(w for q in data.sides(g) for s in q for w in re.findall(r"[a-z]{3,}", s.lower()))
    first, tagged = {}, collections.Counter()
    for line in open(os.path.join(folder, "index.sense"), encoding="utf-8"):
        key, offset, number, count = line.split()
        word, rest = key.split("%")
        part = {"1": "noun", "2": "verb", "3": "adj", "5": "adj"}.get(rest[0])
        if part:
            tagged[word] += int(count)
            if number == "1":
                first[word, part] = (offset, int(count))
    parts = {p: synsets(folder, p) for p in ("noun", "verb", "adj")}
    every = collections.defaultdict(set)  # word -> all its synsets of any part, so that no second sense is a synonym
    for p, sets in parts.items():
        for o, (words, *_) in sets.items():
            for w in words:
                every[w].add((p, o))
    out = {}
    for word in sorted(w for w, n in used.items() if n >= 2):
        best = max(((first[word, p][1], p) for p in parts if (word, p) in first), default=None)
        if not best or not best[0]:
            continue
        part = best[1]
        offset, sets = first[word, part][0], parts[best[1]]
        words, up, anti, similar = sets[offset]
        if part == "adj":
            near = anti + [o for s in similar for o in sets[s][2]]
        else:
            near = [o for h in up for o, v in sets.items() if h in v[1] and o != offset]
        found = {w for o in near for w in sets[o][0] if w.isalpha() and len(w) > 2 and tagged[w] >= 2 and first.get((w, part), ("",))[0] == o}
        found = {w for w in found if not every[w] & every[word] and w[:4] != word[:4]}
        if found:
            out[word] = sorted(found, key=lambda w: -tagged[w])[:MOST]
    with open(os.path.join(data.HERE, "sisters.txt"), "w") as f:
        f.write("# Made by sisters.py from WordNet 3.1, (c) Princeton University, under the WordNet licence. word: sisters\n")
        for w, s in out.items():
            f.write(f"{w}: {' '.join(s)}\n")
    print(len(out), "words")


if __name__ == "__main__":
    main()
