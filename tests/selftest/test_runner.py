import importlib.resources
from pathlib import Path
from typing import Any, Self

import pytest
import soundfile

from listener.config import ClipSettings
from listener.errors import Unavailable
from listener.selftest import checks, runner
from listener.selftest.checks import CheckResult
from listener.selftest.memory import Scan
from listener.selftest.runner import SelfTest

FIXTURES = Path(__file__).parents[1] / "fixtures"


class IdleHarness:
    """A harness that runs no process and reaches every moment at once."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def processes(self) -> tuple[()]:
        return ()

    def wait_until_played(self, until_s: float) -> None:
        del until_s

    def wait_for(self, event: str) -> dict[str, Any]:
        return {"event": event}

    def mute(self, word: str) -> None:
        del word


def test_positive_control_is_checked_first(tmp_path: Path) -> None:
    messages: list[str] = []
    selftest = SelfTest(tmp_path, ClipSettings(), None, messages.append)

    events = selftest.run(["recording"])
    results = [event for event in (next(events), next(events)) if isinstance(event, CheckResult)]

    assert [(result.path, result.where) for result in results] == [
        ("control", "memory"),
        ("control", "disk"),
    ]
    assert all(result.must_find and result.is_good for result in results)
    assert messages == ["positive control, which leaks on purpose"]


def test_hear_that_ends_before_the_search_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The control, hear during playback, both later, and then hear is gone.
    names = iter([["leaky"], ["hear", "send"], ["hear", "send"], ["send"]])

    def scan(*_: object) -> list[tuple[str, Scan]]:
        return [(name, Scan()) for name in next(names)]

    monkeypatch.setattr(checks, "scan_processes", scan)
    monkeypatch.setattr(runner, "Harness", IdleHarness)
    events = SelfTest(tmp_path, ClipSettings(), None, lambda _: None).run(["recording"])

    with pytest.raises(Unavailable, match=r"before its memory was searched \(muted\)") as caught:
        list(events)

    assert "run the selftest again" in caught.value.hint
    assert next(names, None) is None


def test_wake_word_is_part_of_a_fixture() -> None:
    word = importlib.resources.files("listener.selftest") / "word.flac"
    with importlib.resources.as_file(word) as path:
        samples, _ = soundfile.read(path, dtype="int16")

    spoken, _ = soundfile.read(FIXTURES / "alexa.flac", dtype="int16")

    assert samples.tolist() == spoken[31_200:43_200].tolist()
