from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from listener.audio.pcm import FRAME_SAMPLES, Frame
from listener.config import WakeSettings
from listener.errors import ModelRefused
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.wakeword.detector import Wake
from listener.wakeword.manifest import Model


def claimed(model: Model, **changes: Any) -> Model:  # noqa: ANN401 - any field
    """Return ``model`` under another manifest."""
    return Model(msgspec.structs.replace(model.manifest, **changes), model.contents)


def test_head_window_that_differs_from_the_manifest_is_refused(catalogue: Catalogue) -> None:
    alexa = claimed(catalogue.load("alexa"), window_frames=22, input_shape=(1, 22, 96))

    with pytest.raises(ModelRefused, match="takes 16 embeddings, but its manifest says 22"):
        build_detector([alexa], catalogue.embedding(), WakeSettings())


def test_several_outputs_without_labels_are_refused(catalogue: Catalogue) -> None:
    timer = claimed(catalogue.load("timer"), labels={})

    with pytest.raises(ModelRefused, match="has 7 outputs and no labels"):
        build_detector([timer], catalogue.embedding(), WakeSettings())


def test_label_without_an_output_is_refused(catalogue: Catalogue) -> None:
    timer = claimed(catalogue.load("timer"), labels={1: "one", 7: "seven"})

    with pytest.raises(ModelRefused, match="labels for more than its 7 outputs"):
        build_detector([timer], catalogue.embedding(), WakeSettings())


def test_word_without_a_threshold_is_refused(catalogue: Catalogue) -> None:
    alexa = claimed(catalogue.load("alexa"), threshold=None)

    with pytest.raises(ModelRefused, match="no threshold"):
        build_detector([alexa], catalogue.embedding(), WakeSettings())


def test_embedding_without_its_files_is_refused(catalogue: Catalogue) -> None:
    alexa = catalogue.load("alexa")

    with pytest.raises(ModelRefused, match=r"no file 'stream-80\.onnx'"):
        build_detector([alexa], alexa, WakeSettings())


def test_configured_threshold_overrides_the_manifest(
    catalogue: Catalogue, say: Callable[[str], Any]
) -> None:
    samples = say("alexa")
    models = [catalogue.load("alexa")]

    wakes = {}
    for threshold in (0.9, 0.05):
        settings = WakeSettings(thresholds={"alexa": threshold})
        detector = build_detector(models, catalogue.embedding(), settings)
        wakes[threshold] = [
            event
            for first in range(0, len(samples) - FRAME_SAMPLES, FRAME_SAMPLES)
            for event in detector.push(Frame(samples[first : first + FRAME_SAMPLES], first))
            if isinstance(event, Wake)
        ]

    assert all(wake.threshold == threshold for threshold in wakes for wake in wakes[threshold])
    assert len(wakes[0.05]) >= 1
    assert len(wakes[0.9]) <= len(wakes[0.05])
