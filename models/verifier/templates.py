"""Generated groups: sentence frames of templates.txt filled from lexicon.txt.

They supplement the groups written by hand. A frame belongs to one split for
good, so no frame of training is met in dev or test.
"""

import os
import re

import data

HERE = os.path.dirname(os.path.abspath(__file__))
SLOT = re.compile(r"\{(_?)([a-z]+)(\d?)(?:\.(\d))?\}")


def read_lexicon():
    """Each name's values; a value is a tuple of its parts."""
    out = {}
    for line in open(os.path.join(HERE, "lexicon.txt"), encoding="utf-8"):
        if line.strip() and not line.startswith("#"):
            name, values = line.split(":", 1)
            # A slash inside a value ("w/o") never occurs; "/" always parts.
            out[name] = [tuple(v.strip().split("/")) for v in values.split(" | ")]
    return out


def read_frames():
    """Frames as (questions, key): questions are lists of wordings, the first one's are the forms."""
    out, block = [], []
    lines = open(os.path.join(HERE, "templates.txt"), encoding="utf-8").read().split("\n")
    for line in [*lines, ""]:
        line = line.strip()
        if line.startswith("#"):
            continue
        if line:
            block.append(line)
        elif block:
            forms = [s[2:] for s in block if s.startswith("= ")]
            near = [s.split(": ", 1)[1].split(" || ") for s in block if s.startswith("! ")]
            assert len(forms) + len(near) == len(block) and len(forms) > 1 and near, block
            out.append(([forms, *near], forms[0]))
            block = []
    return out


LEXICON, FRAMES = read_lexicon(), read_frames()


def frames_of(split):
    """The frames of a split; a tenth each for dev and test."""
    return [q for q, key in FRAMES if data.split_of("frame " + key) == split]


class Filler:
    """Values for slots, the same slot always getting the same value, two slots of a name never."""

    def __init__(self, r):
        self.r, self.values = r, {}

    def draw(self, key, name):
        taken = {v for k, v in self.values.items() if k[1] == name}
        return self.r.choice([v for v in LEXICON[name] if v not in taken])

    def fill(self, text):
        def one(m):
            free, name, number, part = m.groups()
            if free:  # drawn anew each time: it does not matter
                return self.r.choice(LEXICON[name])[int(part or 0)]
            key = (number, name)
            if key not in self.values:
                self.values[key] = self.draw(key, name)
            return self.values[key][int(part or 0)]

        s = SLOT.sub(one, text)
        s = re.sub(r"\b([Aa]) (?=[aeioAEIO](?!ne\b|nce\b|ur))", r"\1n ", s)
        return s[:1].upper() + s[1:] if self.r.random() < 0.9 else s


def instance(r, questions):
    """A few pairs (a, b, same, family) from one filling of a frame."""
    f, out = Filler(r), []
    for _ in range(3 if r.random() < 0.4 else 2):
        # Only the forms: the wordings of a "!" line need not mean the same.
        a, b = r.choice(questions[0]), r.choice(questions[0])
        if (a := f.fill(a)) != (b := f.fill(b)):
            out.append((a, b, 1, "frame"))
    p = r.choice(questions[1:])
    out.append((f.fill(r.choice(questions[0])), f.fill(r.choice(p)), 0, "frame"))
    if r.random() < 0.4 and len(questions) > 2:
        p, q = r.sample(questions[1:], 2)
        out.append((f.fill(r.choice(p)), f.fill(r.choice(q)), 0, "frame"))
    if r.random() < 0.4:
        a = r.choice(questions[0])
        slots = sorted({(m.group(3), m.group(2)) for m in SLOT.finditer(a) if not m.group(1)})
        if slots:
            b = r.choice([w for w in questions[0] if set(slots) <= {(m.group(3), m.group(2)) for m in SLOT.finditer(w)}])
            left, key = f.fill(a), r.choice(slots)
            f.values[key] = f.draw(key, key[1])
            out.append((left, f.fill(b), 0, "slot"))
    return [p for p in out if data.fold(p[0]) != data.fold(p[1])]


def groups(r, split, n):
    """About `n` pairs, every frame of the split used alike."""
    frames, out = frames_of(split), []
    while len(out) < n and frames:
        for q in r.sample(frames, len(frames)):
            out += instance(r, q)
    r.shuffle(out)
    return out[:n]
