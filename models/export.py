"""Writes a BERT encoder, with or without a head, as the one file the gateway's model runner reads.

Layout of the file (all integers little-endian):

    8 bytes   magic b"SMBLBERT"
    4 bytes   format version (1)
    4 bytes   length of the header
    header    JSON: sizes of the model, head, digest of the payload, where each tensor lies
    zeros     up to a multiple of 64
    payload   graph (ONNX, weights external), tables, weights; every block starts at a multiple of 64

Matrices are stored as int8 with one fp32 scale per output channel (per row for the word table), everything else as
fp32. The gateway's runner (`../encoder`) takes weights by name and multiplies straight from the int8 codes; words it
looks up in the int8 table, row by row. It does not read the graph: that is for holding the runner against another one.

Use `export(state, out, ...)` with a state dict in the names of Hugging Face's `BertModel`; see its docstring.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import blake3
import numpy as np
import onnx
from onnx import TensorProto, helper

MAGIC = b"SMBLBERT"
VERSION = 1
ALIGN = 64
OPSET = 20
WEIGHTS = "weights.data"  # the name of the external data file inside the graph


@dataclass(frozen=True)
class Shape:
    """Sizes of a BERT encoder."""

    layers: int = 6
    hidden: int = 384
    heads: int = 12
    intermediate: int = 1536
    eps: float = 1e-12


def quantise(matrix: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 codes and fp32 scales, one scale for each index along `axis` of a matrix."""
    peak = np.abs(matrix).max(axis=1 - axis, keepdims=True)
    scales = np.where(peak > 0, peak / 127.0, 1.0).astype(np.float32)
    codes = np.clip(np.rint(matrix / scales), -127, 127).astype(np.int8)
    return codes, scales.reshape(-1)


def dequantise(codes: np.ndarray, scales: np.ndarray, axis: int) -> np.ndarray:
    """What the runner makes of the codes; for recipes that want to measure the loss."""
    return codes.astype(np.float32) * np.expand_dims(scales, 1 - axis)


@dataclass
class Payload:
    """The part of the file behind the header, block by block."""

    blocks: list[bytes] = field(default_factory=list)
    length: int = 0

    def put(self, data: bytes) -> int:
        """Appends a block and says where it starts."""
        at = self.length
        padding = -len(data) % ALIGN
        self.blocks.append(data + bytes(padding))
        self.length += len(data) + padding
        return at

    def array(self, values: np.ndarray) -> int:
        """Appends an array, row by row, little-endian."""
        return self.put(np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes())


class Graph:
    """An ONNX graph under construction, its weights recorded for the payload."""

    def __init__(self, payload: Payload):
        self.payload = payload
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []
        self.weights: list[dict] = []
        self.unpacked = 0

    def op(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        """Adds an operator whose single output carries its name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def ints(self, name: str, values: list[int]) -> str:
        """Adds a small integer constant, kept inside the graph."""
        self.initialisers.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def weight(self, name: str, values: np.ndarray, exact: bool = False) -> str:
        """Adds an fp32 weight: a matrix is stored as int8 with a scale per column, a vector or an exact one as it is."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        rows, cols = values.shape if values.ndim == 2 else (1, values.shape[0])
        entry = {"name": name, "rows": rows, "cols": cols, "to": self.unpacked}
        if values.ndim == 2 and not exact:
            codes, scales = quantise(values, axis=1)
            entry |= {"codes": self.payload.array(codes), "scales": self.payload.array(scales)}
        else:
            entry |= {"values": self.payload.array(values)}
        self.weights.append(entry)

        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", WEIGHTS), ("offset", self.unpacked), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.initialisers.append(tensor)
        self.unpacked += values.nbytes + (-values.nbytes % ALIGN)
        return name

    def linear(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """x W^T + b, with W as torch keeps it: outputs by inputs."""
        product = self.op("MatMul", [x, self.weight(f"{name}.weight", weight.T)], f"{name}.product")
        return self.op("Add", [product, self.weight(f"{name}.bias", bias)], name)

    def norm(self, x: str, name: str, gain: np.ndarray, bias: np.ndarray, eps: float) -> str:
        """Layer normalisation over the last axis."""
        inputs = [x, self.weight(f"{name}.gain", gain), self.weight(f"{name}.shift", bias)]
        return self.op("LayerNormalization", inputs, name, axis=-1, epsilon=eps)


def attention(graph: Graph, x: str, at: str, state: dict, shape: Shape) -> str:
    """Self attention of one layer over all tokens; there is no padding and so no mask."""
    width = shape.hidden // shape.heads
    split = []
    for part, scale, axes in (("query", width**-0.5, [1, 0, 2]), ("key", 1.0, [1, 2, 0]), ("value", 1.0, [1, 0, 2])):
        weight, bias = (state[f"{at}.attention.self.{part}.{leaf}"] * scale for leaf in ("weight", "bias"))
        flat = graph.linear(x, f"{at}.{part}", weight, bias)
        heads = graph.op("Reshape", [flat, "split_heads"], f"{at}.{part}.heads")
        split.append(graph.op("Transpose", [heads], f"{at}.{part}.turned", perm=axes))
    query, key, value = split
    scores = graph.op("MatMul", [query, key], f"{at}.scores")
    shares = graph.op("Softmax", [scores], f"{at}.shares", axis=-1)
    mixed = graph.op("MatMul", [shares, value], f"{at}.mixed")
    turned = graph.op("Transpose", [mixed], f"{at}.mixed.turned", perm=[1, 0, 2])
    joined = graph.op("Reshape", [turned, "join_heads"], f"{at}.joined")
    dense = f"{at}.attention.output.dense"
    return graph.linear(joined, f"{at}.attended", state[f"{dense}.weight"], state[f"{dense}.bias"])


def layer(graph: Graph, x: str, at: str, state: dict, shape: Shape) -> str:
    """One transformer layer: attention and a two-layer network, each added to its input and normalised."""

    def normed(value: str, name: str, source: str) -> str:
        return graph.norm(value, name, state[f"{source}.weight"], state[f"{source}.bias"], shape.eps)

    attended = attention(graph, x, at, state, shape)
    summed = graph.op("Add", [attended, x], f"{at}.attended.sum")
    x = normed(summed, f"{at}.attended.norm", f"{at}.attention.output.LayerNorm")
    wide, narrow = f"{at}.intermediate.dense", f"{at}.output.dense"
    inner = graph.linear(x, f"{at}.inner", state[f"{wide}.weight"], state[f"{wide}.bias"])
    inner = graph.op("Gelu", [inner], f"{at}.gelu")
    outer = graph.linear(inner, f"{at}.outer", state[f"{narrow}.weight"], state[f"{narrow}.bias"])
    return normed(graph.op("Add", [outer, x], f"{at}.sum"), f"{at}.norm", f"{at}.output.LayerNorm")


def pair_head(graph: Graph, x: str, state: dict) -> str:
    """The first token's state beside the mean of all, weighed to one number: `head.weight` (1 by 2 x hidden), `head.bias`."""
    for name, value in (("first", 0), ("second", 1), ("token_axis", 0)):
        graph.ints(name, [value])
    cls = graph.op("Slice", [x, "first", "second", "token_axis"], "cls")
    mean = graph.op("ReduceMean", [x, "token_axis"], "mean", keepdims=1)
    pooled = graph.op("Concat", [cls, mean], "pooled", axis=-1)
    product = graph.op("MatMul", [pooled, graph.weight("head.weight", state["head.weight"].T, exact=True)], "head.product")
    return graph.op("Add", [product, graph.weight("head.bias", state["head.bias"])], "logit")


def build(state: dict, shape: Shape, head: str, payload: Payload) -> tuple[bytes, Graph]:
    """The serialised graph from summed word, position and type vectors to hidden states or a logit."""
    graph = Graph(payload)
    graph.ints("split_heads", [0, shape.heads, shape.hidden // shape.heads])
    graph.ints("join_heads", [0, shape.hidden])
    norm = "embeddings.LayerNorm"
    x = graph.norm("summed", "embedded", state[f"{norm}.weight"], state[f"{norm}.bias"], shape.eps)
    for number in range(shape.layers):
        x = layer(graph, x, f"encoder.layer.{number}", state, shape)
    dims = ["tokens", shape.hidden]
    if head == "logit":
        x, dims = pair_head(graph, x, state), [1, 1]
    proto = helper.make_graph(
        graph.nodes,
        "bert",
        [helper.make_tensor_value_info("summed", TensorProto.FLOAT, ["tokens", shape.hidden])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, dims)],
        graph.initialisers,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="")
    model.ir_version = 9
    return model.SerializeToString(deterministic=True), graph


def export(
    state: dict,
    out: Path,
    *,
    name: str,
    head: str = "hidden",
    window: int = 256,
    shape: Shape = Shape(),
) -> str:
    """Writes `state` to `out` and returns the digest of its payload.

    `state` maps names of `BertModel` (`embeddings.word_embeddings.weight`, `encoder.layer.0...`, no `bert.` prefix) to
    fp32 numpy arrays. `head` is "hidden" (the output is one vector a token) or "logit" (one number, see `pair_head`).
    `window` is the largest number of tokens, special ones included, that the model will be given.
    """
    if head not in ("hidden", "logit"):
        raise ValueError(f"unknown head {head!r}")
    state = {key: np.asarray(value, dtype=np.float32) for key, value in state.items()}
    words = state["embeddings.word_embeddings.weight"]
    positions = state["embeddings.position_embeddings.weight"][:window]
    types = state["embeddings.token_type_embeddings.weight"]

    payload = Payload()
    codes, scales = quantise(words, axis=0)
    tables = {
        "words": {"rows": words.shape[0], "codes": payload.array(codes), "scales": payload.array(scales)},
        "positions": {"rows": positions.shape[0], "values": payload.array(positions)},
        "types": {"rows": types.shape[0], "values": payload.array(types)},
    }
    proto, graph = build(state, shape, head, payload)
    graph_at = payload.put(proto)

    body = b"".join(payload.blocks)
    digest = blake3.blake3(body).hexdigest()
    header = {
        "name": name,
        "head": head,
        "hidden": shape.hidden,
        "window": positions.shape[0],
        "digest": digest,
        "graph": {"at": graph_at, "len": len(proto)},
        "unpacked": graph.unpacked,
        **tables,
        "weights": graph.weights,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    front = MAGIC + struct.pack("<II", VERSION, len(text)) + text
    out.write_bytes(front + bytes(-len(front) % ALIGN) + body)
    return digest
