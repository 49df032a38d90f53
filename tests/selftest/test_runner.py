import importlib.resources
from pathlib import Path

import soundfile

from listener.config import ClipSettings
from listener.selftest.checks import CheckResult
from listener.selftest.runner import SelfTest

FIXTURES = Path(__file__).parents[1] / "fixtures"


def test_the_control_is_caught_before_anything_else_is_believed(tmp_path: Path) -> None:
    told: list[str] = []
    play = SelfTest(tmp_path, ClipSettings(), None, told.append)

    events = play.run(["recording"])
    looks = [event for event in (next(events), next(events)) if isinstance(event, CheckResult)]

    assert [(look.path, look.where) for look in looks] == [
        ("control", "memory"),
        ("control", "disk"),
    ]
    assert all(look.must_find and look.is_good for look in looks)
    assert told == ["the control leaks on purpose"]


def test_the_word_is_cut_out_of_a_fixture_that_a_synthesiser_spoke() -> None:
    word = importlib.resources.files("listener.selftest") / "word.flac"
    with importlib.resources.as_file(word) as path:
        samples, _ = soundfile.read(path, dtype="int16")

    spoken, _ = soundfile.read(FIXTURES / "alexa.flac", dtype="int16")

    assert samples.tolist() == spoken[31_200:43_200].tolist()
