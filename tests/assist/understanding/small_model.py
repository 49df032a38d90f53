"""A speech model of a few random weights, for tests."""

import json
import struct

import numpy as np

from listener.assist.understanding.text_tokens import TextTokens
from listener.assist.understanding.weights import Array

VOCABULARY = 300
SIZE = 64
SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>")


def tokenizer() -> bytes:
    """Return a tokenizer.json: single bytes, two merges, and the special ones."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = [chr(byte) for byte in printed] + [chr(256 + n) for n in range(len(others))]
    merged = ["on", "\u0120on"]
    file = {
        "model": {
            "vocab": {text: number for number, text in enumerate([*letters, *merged])},
            "merges": ["o n", ["\u0120", "on"]],
        },
        "added_tokens": [{"id": 290 + n, "content": text} for n, text in enumerate(SPECIAL)],
    }
    return json.dumps(file).encode()


def tokens() -> TextTokens:
    """Return its tokens."""
    return TextTokens(tokenizer())


def weights() -> dict[str, Array]:
    """Return weights of a small model, from a fixed seed."""
    random = np.random.default_rng(3)

    def values(*shape: int) -> Array:
        return random.normal(0, 0.3, shape).astype(np.float32)

    arrays = {
        "decoder/embeddings/weight": values(VOCABULARY, SIZE),
        "decoder/position_encodings/encodings": values(448, SIZE),
        "encoder/position_encodings/encodings": values(1500, SIZE),
        "encoder/conv1/weight": values(SIZE, 80, 3),
        "encoder/conv2/weight": values(SIZE, SIZE, 3),
    }
    parts = {"self_attention": (3 * SIZE, SIZE), "ffn": (4 * SIZE, SIZE)}
    for side in ("encoder", "decoder"):
        for layer in range(2):
            name = f"{side}/layer_{layer}"
            for part, (inner, outer) in parts.items():
                arrays[f"{name}/{part}/linear_0/weight"] = values(inner, SIZE)
                arrays[f"{name}/{part}/linear_1/weight"] = values(
                    outer, 4 * SIZE if part == "ffn" else SIZE
                )
            if side == "decoder":
                for number, rows in enumerate((SIZE, 2 * SIZE, SIZE)):
                    arrays[f"{name}/attention/linear_{number}/weight"] = values(rows, SIZE)
    for name, array in list(arrays.items()):
        if "linear" in name or "conv" in name:
            arrays[name.replace("/weight", "/bias")] = values(len(array))
    norms = {name.rsplit("/", 2)[0] for name in arrays if "/linear_" in name}
    for name in [
        *(f"{norm}/layer_norm" for norm in norms),
        "encoder/layer_norm",
        "decoder/layer_norm",
    ]:
        arrays[f"{name}/gamma"] = np.ones(SIZE, np.float32)
        arrays[f"{name}/beta"] = np.zeros(SIZE, np.float32)
    return arrays


def packed(arrays: dict[str, Array], version: int = 6) -> bytes:
    """Return arrays as a model.bin."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    data = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        half = array.astype(np.float16).tobytes()
        data += text(name) + struct.pack("<B", array.ndim)
        data += struct.pack(f"<{array.ndim}I", *array.shape)
        data += struct.pack("<BI", 4, len(half)) + half
    return data
