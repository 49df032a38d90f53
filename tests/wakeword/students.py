"""Students with random weights, and first stages made of them."""

import hashlib

import numpy as np

from listener.wakeword.features import Floats
from listener.wakeword.manifest import File, KnownWord, Manifest, Model
from listener.wakeword.student import StudentWeights, write_weights


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


def first_stage(weights: StudentWeights, **bounds: tuple[Model, float]) -> Model:
    """A first stage that knows some words: first_stage(weights, alexa=(model, 0.1))."""
    data = write_weights(weights)
    manifest = Manifest(
        name="first-stage",
        kind="first-stage",
        origin="a test",
        licence="Apache-2.0",
        input_shape=(1, 1, 8, 32),
        files=(File(path="student.npy", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),),
        words={
            model.name: KnownWord(
                sha256=model.manifest.sha256, bound=bound, speech_share=0.1, woken=1
            )
            for model, bound in bounds.values()
        },
    )
    return Model(manifest, (data,))
