"""Students and student heads with random weights, and first stages made of them."""

import hashlib
import io
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from listener.wakeword.features import Floats
from listener.wakeword.manifest import File, KnownWord, Manifest, Model
from listener.wakeword.student import StudentWeights, write_weights
from listener.wakeword.student_head import StudentHeadWeights


def random_student(width: int, taps: tuple[int, ...], seed: int = 1) -> StudentWeights:
    random = np.random.default_rng(seed)

    def layer(*shape: int) -> Floats:
        scale = float(np.prod(shape[:-1])) ** -0.5
        drawn: Floats = (scale * random.standard_normal(shape)).astype(np.float32)
        return drawn

    return StudentWeights(
        first=layer(256, width),
        first_bias=layer(width),
        convolutions=tuple(layer(k, width, width) for k in taps),
        biases=tuple(layer(width) for _ in taps),
        last=10 * layer(width, 96),
        last_bias=layer(96),
    )


def replace_arrays(data: bytes, *changes: tuple[int, Any]) -> bytes:
    """Return a file of weights with some of its arrays replaced, by number."""
    stream = io.BytesIO(data)
    parts = []
    while stream.tell() < len(data):
        parts.append(np.load(stream))
    for index, array in changes:
        parts[index] = array
    out = io.BytesIO()
    for part in parts:
        np.save(out, part)
    return out.getvalue()


def random_student_head(*widths: int, seed: int = 2) -> StudentHeadWeights:
    """A student head with hidden layers of these widths."""
    random = np.random.default_rng(seed)
    sizes = list(pairwise((1536, *widths, 1)))
    return StudentHeadWeights(
        tuple(
            (
                random.standard_normal(size) * (2 / size[0]) ** 0.5 / (10 if number == 0 else 1)
            ).astype(np.float32)
            for number, size in enumerate(sizes)
        ),
        tuple(random.standard_normal(size[1]).astype(np.float32) for size in sizes),
    )


def first_stage(
    weights: StudentWeights,
    heads: Mapping[str, bytes] | None = None,
    own_bounds: Mapping[str, float] | None = None,
    /,
    **bounds: tuple[Model, float],
) -> Model:
    """A first stage that knows some words: first_stage(weights, alexa=(model, 0.1)).

    ``heads`` are files of student heads by word, and ``own_bounds`` what their own heads must
    reach besides.
    """
    contents = {"student.npy": write_weights(weights)}
    contents |= {f"{word}.npy": data for word, data in (heads or {}).items()}
    manifest = Manifest(
        name="first-stage",
        kind="first-stage",
        origin="a test",
        licence="Apache-2.0",
        input_shape=(1, 1, 8, 32),
        files=tuple(
            File(path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            for path, data in contents.items()
        ),
        words={
            model.name: KnownWord(
                sha256=model.manifest.sha256,
                bound=bound,
                speech_share=0.1,
                woken=1,
                head=f"{model.name}.npy" if model.name in (heads or {}) else None,
                own_bound=(own_bounds or {}).get(model.name),
            )
            for model, bound in bounds.values()
        },
    )
    return Model(manifest, tuple(contents.values()))
