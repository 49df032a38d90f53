"""What ``score`` prints about a file: its steps, its wakes, or one line for people."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.wakeword.detector import Step, Wake


@dataclass(slots=True)
class Summary:
    """What a file's scores come to."""

    samples: int = 0
    """How much was scored."""
    highest: dict[str, float] = field(default_factory=dict)
    """By word; a word whose steps were all put off is absent."""
    wakes: list[Wake] = field(default_factory=list)


class ScoreReport(Protocol):
    """What is printed about a file, and when. Each has what the others do not need."""

    def step(self, file: str, step: Step) -> None:
        """Take one step's scores."""

    def wake(self, file: str, wake: Wake) -> None:
        """Take a wake, after the step that made it one."""

    def end(self, file: str, summary: Summary) -> None:
        """Take the whole of a file that could be read to its end."""


class StepLines:
    """``--json``."""

    def step(self, file: str, step: Step) -> None:
        """Print it."""
        _print_json(
            {
                "file": file,
                "first_sample": step.first_sample,
                "end_sample": step.end_sample,
                "scores": step.scores,
            }
        )

    def wake(self, file: str, wake: Wake) -> None:
        """Print nothing: the steps tell."""

    def end(self, file: str, summary: Summary) -> None:
        """Print nothing: the steps told."""


class WakeLines:
    """``--wakes``, as text or as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def step(self, file: str, step: Step) -> None:
        """Print nothing: only wakes were asked for."""

    def wake(self, file: str, wake: Wake) -> None:
        """Print it."""
        if not self._as_json:
            print(f"{file}  {_seconds(wake)}  {wake.word}  {wake.score:.3f}")
            return
        _print_json(
            {
                "file": file,
                "word": wake.word,
                "score": wake.score,
                "end_sample": wake.end_sample,
                "seconds": wake.end_sample / SAMPLE_RATE_HZ,
                "threshold": wake.threshold,
            }
        )

    def end(self, file: str, summary: Summary) -> None:
        """Print nothing: the wakes were printed as they came."""


class ScoreTable:
    """For people: a line for each file, with each word's highest score, and the wakes."""

    def __init__(self, words: Sequence[str], files: Sequence[str]) -> None:
        self._words = words
        self._width = max(map(len, ("file", *files)))
        head = "  ".join(f"{word:>{max(5, len(word))}}" for word in words)
        print(f"{'file':<{self._width}}  {'seconds':>8}  {head}  wakes")

    def step(self, file: str, step: Step) -> None:
        """Print nothing: the highest score comes at the end."""

    def wake(self, file: str, wake: Wake) -> None:
        """Print nothing: the wakes come at the end."""

    def end(self, file: str, summary: Summary) -> None:
        """Print the file's line."""
        cells = []
        for word in self._words:
            highest = summary.highest.get(word)
            text = "-" if highest is None else f"{highest:.3f}"
            cells.append(f"{text:>{max(5, len(word))}}")
        several = len(self._words) > 1
        wakes = ", ".join(
            f"{wake.word} {_seconds(wake)}" if several else _seconds(wake) for wake in summary.wakes
        )
        seconds = f"{summary.samples / SAMPLE_RATE_HZ:8.2f}"
        print(f"{file:<{self._width}}  {seconds}  {'  '.join(cells)}  {wakes}".rstrip(), flush=True)


def printable(name: str | Path) -> str:
    """Show a name that may hold bytes which are no UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def _seconds(wake: Wake) -> str:
    return f"{wake.end_sample / SAMPLE_RATE_HZ:.2f} s"


def _print_json(shown: object) -> None:
    print(msgspec.json.encode(shown).decode())
