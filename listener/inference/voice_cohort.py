"""The cohort: embeddings of background voices, against which an owner's threshold is calibrated."""

import io
from typing import Final

import numpy as np

from listener.errors import ModelRefused
from listener.inference.speaker_embedding import DIMENSIONS, load_model
from listener.voiceprint.scoring import Embedding

COHORT: Final = "cohort.npy"
"""Name of the file among the model's."""


def load_cohort() -> Embedding:
    """Load the cohort that is shipped with the speaker embedding.

    Returns:
        float32, shape (n, 192), each row of unit norm.

    Raises:
        ModelRefused: a file is missing, its hash differs, or it is not such an array.
    """
    model = load_model()
    for file, data in zip(model.manifest.files, model.contents, strict=True):
        if file.path == COHORT:
            return _parse(data)
    raise ModelRefused(f"{model.name} has no file {COHORT}")


def _parse(data: bytes) -> Embedding:
    try:
        cohort: Embedding = np.load(io.BytesIO(data), allow_pickle=False).astype(np.float32)
    except ValueError as error:
        raise ModelRefused(f"{COHORT} is not an array of numpy") from error
    if cohort.ndim != 2 or cohort.shape[1] != DIMENSIONS or not len(cohort):  # noqa: PLR2004 - a matrix
        raise ModelRefused(f"{COHORT} has the shape {cohort.shape}, not (n, {DIMENSIONS})")
    return cohort
