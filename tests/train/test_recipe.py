"""The recipe of a training: which voices speak, and how many clips."""

from pathlib import Path
from typing import get_args

import pytest

from listener.train import recipe as recipes
from listener.train.negatives import Negatives
from listener.train.phrase import parse_phrase
from listener.train.plan import COUNTS, Effort
from listener.train.recipe import TrainingRequest, build_recipe
from listener.train.voices.engine import VoiceEngine
from listener.train.voices.registry import MissingEngine, Quality
from tests.train.fake_voices import ToneEngine

ENGINES = (ToneEngine("flite"), ToneEngine("kokoro"))
MISSING = MissingEngine("piper", "it was not added", "run earmark voices add piper")


def find_engines(
    _home: Path, quality: Quality = "best"
) -> tuple[tuple[VoiceEngine, ...], tuple[MissingEngine, ...]]:
    return (ENGINES, (MISSING,)) if quality == "best" else (ENGINES[:1], ())


@pytest.mark.parametrize("effort", get_args(Effort))
def test_neural_voices_speak_whatever_the_effort(
    effort: Effort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "find_engines", find_engines)
    # The search of the dictionary takes seconds, and has tests of its own.
    monkeypatch.setattr(recipes, "find_near_phrases", lambda *_, **__: ("alicia",))
    request = TrainingRequest(parse_phrase("alexa"), effort, 1)

    recipe, notes = build_recipe(request, Negatives((), (), (), ""), tmp_path)

    assert [each.name for each in recipe.engines] == ["flite", "kokoro"]
    assert recipe.counts == COUNTS[effort]
    assert notes == ("piper is not used: it was not added; run earmark voices add piper",)
