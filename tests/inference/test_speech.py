from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from listener.catalogue import Catalogue
from listener.errors import ModelRefused
from listener.inference.speech import SpeechNet


def test_speech_is_told_from_silence(catalogue: Catalogue, say: Callable[[str], Any]) -> None:
    speech = SpeechNet(catalogue.speech())
    talk = say("talk")

    silence = [speech.probability(np.zeros(640, np.int16)) for _ in range(25)]
    spoken = [speech.probability(talk[at : at + 640]) for at in range(48_000, 96_000, 640)]

    assert max(silence[5:]) < 0.2
    assert max(spoken) > 0.8


def test_after_a_reset_speech_begins_anew(catalogue: Catalogue, say: Callable[[str], Any]) -> None:
    speech = SpeechNet(catalogue.speech())
    chunk = say("talk")[60_000:60_640]
    first = speech.probability(chunk)
    speech.probability(chunk)

    speech.reset()

    assert speech.probability(chunk) == first


def test_a_wake_word_tells_no_speech(catalogue: Catalogue) -> None:
    with pytest.raises(ModelRefused, match="no Silero"):
        SpeechNet(catalogue.load("alexa"))
