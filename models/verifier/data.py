"""Groups of questions, their fixed split, and the pairs made from them.

A group file holds one JSON object a line: `forms` are wordings of one question,
`near` are other questions close to it, each with wordings of its own and the
`kind` of the difference. Any two wordings of one question are a pair with the
same answer; any two wordings of different questions of a group are not.
"""

import glob
import hashlib
import json
import os
import random

import numpy as np
import torch

import edits
import net
import templates

HERE = os.path.dirname(os.path.abspath(__file__))


def fold(s):
    """A wording without case, outer punctuation and runs of space: equal means the same text."""
    return " ".join(s.lower().split()).strip(" ?.!")


def read_groups(folder=os.path.join(HERE, "data")):
    """The valid groups of every file in `folder`, and what was dropped and why."""
    groups, dropped, first = [], [], {}
    for path in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        name = os.path.basename(path).removesuffix(".jsonl")
        for n, line in enumerate(open(path, encoding="utf-8"), 1):
            if not line.strip():
                continue
            where = f"{name}:{n}"
            try:
                group = clean(json.loads(line), f"{name}/")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                dropped.append((where, repr(error)))
                continue
            text = fold(group["forms"][0])
            if text in first:
                dropped.append((where, f"the same first form as {first[text]}"))
                continue
            first[text] = where
            groups.append(group)
    return groups, dropped


def clean(group, prefix):
    """The group with repeated wordings taken out; raises ValueError when too little is left."""
    seen, forms, near = set(), [], []
    for s in group["forms"]:
        if not isinstance(s, str):
            raise ValueError("a form is not text")
        if s.strip() and fold(s) not in seen:
            seen.add(fold(s))
            forms.append(s.strip())
    for n in group["near"]:
        wordings = [s.strip() for s in n["forms"] if s.strip() and fold(s) not in seen]
        seen.update(map(fold, wordings))
        if wordings:
            near.append({"kind": str(n["kind"]), "forms": wordings})
    if len(forms) < 2 or not near:
        raise ValueError("fewer than two forms, or no near miss")
    return {"id": prefix + str(group.get("id", "")), "domain": str(group.get("domain", "")), "forms": forms, "near": near}


def split_of(key):
    """train, dev or test, by hash: 80, 10 and 10 of a hundred."""
    n = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") % 100
    return "train" if n < 80 else "dev" if n < 90 else "test"


def embed(texts, enc, tok, batch=64, fast=True):
    """Unit mean-pooled vectors of the base encoder; in half precision where `fast`."""
    rows = [([net.CLS, *e.ids[:94], net.SEP], [0] * (min(len(e.ids), 94) + 2)) for e in tok.encode_batch(texts, add_special_tokens=False)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    out = np.zeros((len(rows), net.WIDTH), np.float32)
    device = next(enc.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast):
        for k in range(0, len(order), batch):
            chunk = order[k : k + batch]
            ids, mask, kinds = (x.to(device) for x in net.pad([rows[i] for i in chunk]))
            h = enc(ids, mask, kinds).float() * mask[..., None]
            v = h.sum(1) / mask.sum(1, keepdim=True)
            out[chunk] = torch.nn.functional.normalize(v, dim=1).cpu().numpy()
    return out


# Two groups nearer than this may ask the same thing: they go to one split, and are never each other's negatives.
TWIN = 0.86


def split_groups(groups, enc, tok):
    """Groups by split, twins together, and each group's far enough neighbours of its own split."""
    vectors = embed([s for g in groups for s in g["forms"]], enc, tok)
    ends = np.cumsum([len(g["forms"]) for g in groups])
    mean = np.stack([vectors[e - len(g["forms"]) : e].mean(0) for g, e in zip(groups, ends)])
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    near = mean @ mean.T
    np.fill_diagonal(near, -1)
    root = list(range(len(groups)))

    def find(i):
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, j in zip(*np.where(near > TWIN)):
        a, b = find(int(i)), find(int(j))
        # The root is the one whose text sorts first, so that added groups seldom move old ones.
        lo, hi = sorted((a, b), key=lambda k: groups[k]["forms"][0])
        root[hi] = lo
    for i, g in enumerate(groups):
        g["split"] = split_of(fold(groups[find(i)]["forms"][0]))
        g["twin"] = find(i)
    for i, g in enumerate(groups):
        order = [int(j) for j in np.argsort(-near[i])[:40]]
        g["others"] = [j for j in order if near[i, j] < TWIN - 0.06 and groups[j]["split"] == g["split"]][:8]
    return {name: [g for g in groups if g["split"] == name] for name in ("train", "dev", "test")}


def sides(group):
    """The questions of a group, each a list of wordings: the forms first, then each near miss."""
    return [group["forms"]] + [n["forms"] for n in group["near"]]


def sample(r, items, n):
    return r.sample(items, min(n, len(items)))


def group_pairs(r, group, groups, negatives=26):
    """One epoch's pairs (a, b, same, family) of a group; every wording pair of one question is among them."""
    questions, out = sides(group), []
    forms = questions[0]
    for wordings in questions:
        for i, a in enumerate(wordings):
            out += [(a, b, 1, "form") for b in wordings[i + 1 :]]
    against = [(a, b, 0, "near") for q in questions[1:] for a in forms for b in q]
    # A near miss's first wording is the closest to the first form: the hardest pairs are always in.
    out += [(forms[0], q[0], 0, "near") for q in questions[1:] if r.random() < 0.7]
    out += sample(r, against, negatives)
    cross = [(a, b, 0, "cross") for i, p in enumerate(questions[1:], 1) for q in questions[i + 1 :] for a in p for b in q]
    out += sample(r, cross, negatives // 4)
    for j in sample(r, group["others"], 6):
        other = groups[j]
        out.append((r.choice(r.choice(questions)), r.choice(r.choice(sides(other))), 0, "mined"))
    return out + edited(r, questions)


def edited(r, questions):
    """Pairs by small edits: the same sentence lightly reworded, turned round, or with one thing renamed."""
    out, forms = [], questions[0]
    for s in sample(r, [s for q in questions for s in q], 3):
        if kept := edits.keep(r, s):
            out.append((s, kept, 1, "keep"))
    a, b = r.sample(forms, 2)
    if turned := edits.turn(r, a):
        out += [(a, turned, 0, "turn"), (b, turned, 0, "turn")][: r.choice([1, 2])]
        kept = edits.keep(r, a)
        if kept and r.random() < 0.5:
            out.append((kept, turned, 0, "turn"))
    for q in sample(r, questions, 2):
        a, b = r.sample(q, 2) if len(q) > 1 else (q[0], q[0])
        for old, new in sample(r, [(o, n) for o, n in edits.renames(r, a) if edits.rename(b, o, n) != b and edits.rename(b, n, o) == b], 1):
            x, y = edits.rename(a, old, new), edits.rename(b, old, new)
            if a != b:
                out.append((x, y, 1, "rename"))
            out.append((x, b, 0, "rename"))
    for q in sample(r, questions, 2):
        a, b = r.sample(q, 2) if len(q) > 1 else (q[0], q[0])
        found = edits.sister(r, a)
        if not found:
            continue
        x, y = edits.rename(a, *found), edits.rename(b, *found)
        out.append((x, r.choice([a, b]), 0, "word"))
        if a != b and y != b and r.random() < 0.7:
            out.append((x, y, 1, "word"))
    return out


CHATTER = """I have been a customer for about six years now and mostly things went fine.|Sorry for the long message.|I read the help pages but they did not mention this.|
My colleague suggested that I write to you.|I am asking because my sister raised it at dinner and nobody knew.|We had a long discussion about it in the team yesterday.|
It is raining here and I finally have time to sort out such things.|I am new to all this, so please bear with me.|Bit of background: I work in a small office with a few colleagues.|
I tried searching online but found only old forum threads.|This has been on my mind for a while.|I'm writing from my phone, so excuse any mistakes.|
Hope you are having a good week.|I already asked a friend, who had no idea.|It came up while I was tidying my desk.|Please keep it simple, I'm no expert.|
I'd like to understand this properly before I talk to anyone else about it.|The chat bot just sent me round in circles.|Long-time reader, first-time writer.|
Not urgent, but it would be nice to know.|I promise I did look it up first.|My notes on this are a mess, so I am starting over.|The person at the counter seemed unsure, which is why I'm asking here.|
I like to plan things well ahead.|Feel free to answer in a sentence or two, or at length, as you prefer.|I had the same thought last year but never followed it up.|
It's probably a silly thing to ask.|I am compiling a list of small things to clear up this weekend.|Someone at the gym mentioned this and it stuck with me.""".replace("\n", "").split("|")


def long_pairs(r, groups, n):
    """Pairs of several sentences: chatter round a question, or two or three questions in any order."""
    out = []
    for _ in range(n):
        g = r.choice(groups)
        f = r.sample(g["forms"], 2)
        near = r.choice(r.choice(g["near"])["forms"])
        same = r.random() < 0.45
        if r.random() < 0.5:
            talk = sample(r, CHATTER, r.choice([1, 1, 1, 2, 2, 3, 4, 10]))
            a = " ".join(mix(r, f[0], talk if r.random() < 0.6 else sample(r, CHATTER, r.choice([1, 2, 4]))))
            b_core = f[1] if same else near
            b = " ".join(mix(r, b_core, sample(r, CHATTER, r.choice([1, 2, 3])))) if r.random() < 0.5 else b_core
            out.append((a, b, int(same), "chatter"))
            continue
        others = r.sample(groups, r.choice([1, 1, 2]))
        if any(o is g for o in others):
            continue
        pairs = [r.sample(o["forms"], 2) for o in others]
        left = [f[0]] + [p[0] for p in pairs]
        right = [f[1] if same else near] + [p[1] for p in pairs]
        if not same and r.random() < 0.3:
            right = right[1:]  # a question left out is another prompt
        r.shuffle(right)
        join = r.choice([" ", " Also, ", "\n", " And another thing: "])
        out.append((join.join(left), join.join(right), int(same), "several"))
    return out


def mix(r, core, talk):
    """Chatter with the question somewhere in it."""
    at = r.choice([0, len(talk), r.randint(0, len(talk))])
    return talk[:at] + [core if core[-1:] in "?.!" else core + "."] + talk[at:]


def epoch_pairs(r, groups, every, split, share=0.25, long=0.035):
    """All pairs of one epoch, noised, in random order of sides."""
    pairs = [p for g in groups for p in group_pairs(r, g, every)]
    n = len(pairs)
    tgroups = templates.groups(r, split, int(n * share))
    pairs += tgroups
    pairs += long_pairs(r, groups, int(n * long))
    out = []
    for a, b, same, family in pairs:
        if r.random() < 0.5:
            a, b = b, a
        if family != "clean":
            a, b = edits.noise(r, a), edits.noise(r, b)
        out.append((a, b, same, family))
    r.shuffle(out)
    return out


def test_pairs(groups, each=4):
    """Every form pair, and each near miss in `each` pairs with a form, unedited; the same ones every time.

    Each is (a, b, same, kind, group, number of the near miss in its group or -1).
    """
    out = []
    for g in groups:
        for i, a in enumerate(g["forms"]):
            out += [(a, b, 1, "paraphrase", g["id"], -1) for b in g["forms"][i + 1 :]]
        for k, n in enumerate(g["near"]):
            pairs = [(a, b, 0, n["kind"], g["id"], k) for a in g["forms"] for b in n["forms"]]
            out += sample(random.Random(f"{g['forms'][0]} {k}"), pairs, each)
    return out
