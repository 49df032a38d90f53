"""The verb ``score``: the scores that the device's own detector gives to recordings.

One file after the other, each from a fresh start, in constant memory, nothing skipped: the road
for anyone who compares us with another engine.

What ``score`` prints about a file: its steps, its wakes, or one line for people.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ, Framer, Gap, GapReason
from listener.config import Config, Probability, WakeSettings
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.evaluate.progress import ProgressLine
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.storage.recordings import SUFFIXES, Recording, open_recording
from listener.wakeword.detector import Step, StreamDetector, Wake


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


BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ
"""What is read at once; how sound is cut changes no score."""

DETAILS: Final = """\
Each 80 ms of sound is a step; at --hop-ms 40 there are two. What is left at the end of a file
and fills no 80 ms is not scored. A model that tells several phrases apart scores as its best
phrase, and each phrase has a score besides. Other rates than 16 kHz are resampled; of several
channels microphone.channel is heard. A folder stands for the sound files in it and below it.

--json prints an object for every step, from the first:
  {"file":"a.flac","first_sample":0,"end_sample":1280,"scores":{"alexa":0.0}}
With --lazy the steps of a quiet room, which the device puts off, have no scores: {}.
--json --wakes prints an object for every wake:
  {"file":"a.flac","word":"alexa","score":0.93,"end_sample":30720,"seconds":1.92,"threshold":0.5}

A file that cannot be read, or turns out to be damaged half-way, is reported on standard error;
the others are still scored, and the exit code is 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments."""
    parser.epilog = DETAILS
    parser.add_argument("files", nargs="+", metavar="FILE", help="WAV, FLAC, Ogg, or a folder")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="wake word, see earmark models list; may be repeated (default: wake.words)",
    )
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--wakes", action="store_true", help="the wakes alone")
    parser.add_argument("--lazy", action="store_true", help="put quiet steps off, as the device")
    parser.add_argument("--hop-ms", type=int, choices=(40, 80), help="time between scores")
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="score from which each word wakes"
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Score the files; 1 if one of them could not be read to its end.

    Raises:
        EarmarkError: a model is not there or is refused, or the arguments cannot be.
    """
    wake = wake_settings(arguments, settings.wake)
    paths = expand(arguments.files)
    catalogue = Catalogue(Path(settings.home))
    words = [catalogue.load(name) for name in wake.words]
    for word in words:
        if word.manifest.kind != "wake-word":
            raise UsageError(f"{word.name} is no wake word", "earmark models list shows the kinds")
    detector = build_detector(words, catalogue.embedding(), wake)
    report = _report(arguments, wake.words, paths)
    damaged = 0
    with ProgressLine(len(paths), sys.stderr, sys.stdout) as remaining:
        for number, path in enumerate(paths):
            file = printable(path)
            advance = partial(remaining.set_position, number)
            try:
                with open_recording(path, settings.microphone.channel) as recording:
                    report.end(file, score_recording(detector, recording, file, report, advance))
            except EarmarkError as error:
                damaged += 1
                _print_error(error)
    return int(damaged > 0)


def wake_settings(arguments: argparse.Namespace, settings: WakeSettings) -> WakeSettings:
    """Put the arguments over the configured settings.

    Raises:
        UsageError: the threshold is none.
    """
    words = tuple(dict.fromkeys(arguments.model or settings.words))
    thresholds = settings.thresholds
    if arguments.threshold is not None:
        try:
            threshold = msgspec.convert(arguments.threshold, Probability)
        except msgspec.ValidationError as error:
            raise UsageError(f"--threshold {arguments.threshold}: {error}") from error
        thresholds = dict.fromkeys(words, threshold)
    return msgspec.structs.replace(
        settings,
        words=words,
        thresholds=thresholds,
        lazy=arguments.lazy,
        hop_ms=arguments.hop_ms or settings.hop_ms,
    )


def expand(names: Sequence[str]) -> list[Path]:
    """Put in place of each folder the sound files in it and below it, in the order of their names.

    Raises:
        UsageError: a folder has none.
        Unavailable: a folder cannot be read.
    """
    paths: list[Path] = []
    for name in names:
        if not os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises on names that cannot be
            paths.append(Path(name))
            continue
        found = sorted(
            Path(folder, file)
            for folder, _, files in os.walk(name, onerror=_unreadable)
            for file in files
            if os.path.splitext(file)[1].lower() in SUFFIXES  # noqa: PTH122 - a name, not a path
        )
        if not found:
            raise UsageError(
                f"there is no sound file in {printable(name)}",
                f"in a folder, files that end in {', '.join(sorted(SUFFIXES))} are scored",
            )
        paths += found
    return paths


def score_recording(
    detector: StreamDetector,
    recording: Recording,
    file: str,
    report: ScoreReport,
    advance: Callable[[float], None],
) -> Summary:
    """Drive the detector over one recording, from a fresh start.

    Args:
        detector: what to drive; what it heard before is forgotten.
        recording: the sound; what fills no frame at its end is left.
        file: what the report calls it.
        report: told each step and each wake.
        advance: told now and then which part of the recording is done, 0 to 1.

    Raises:
        Unavailable: the recording is damaged.
    """
    summary = Summary()
    framer = Framer()
    length = max(recording.length_samples, 1)
    detector.push(Gap(GapReason.START, 0))
    while (block := recording.read(BLOCK_SAMPLES)) is not None:
        for frame in framer.push(block):
            events = detector.push(frame)
            for step in detector.steps:
                report.step(file, step)
                for name, value in step.scores.items():
                    summary.highest[name] = max(value, summary.highest.get(name, 0.0))
            for event in events:
                if isinstance(event, Wake):
                    report.wake(file, event)
                    summary.wakes.append(event)
            summary.samples = frame.end_sample
        advance(min(summary.samples / length, 1.0))
    return summary


def _report(
    arguments: argparse.Namespace, words: Sequence[str], paths: Sequence[Path]
) -> ScoreReport:
    if arguments.wakes:
        return WakeLines(as_json=arguments.json)
    if arguments.json:
        return StepLines()
    return ScoreTable(words, [printable(path) for path in paths])


def _print_error(error: EarmarkError) -> None:
    # What was printed about the file comes before what is wrong with it.
    sys.stdout.flush()
    print(f"earmark: error: {printable(str(error))}", file=sys.stderr)
    if error.hint:
        print(f"earmark: hint: {error.hint}", file=sys.stderr)


def _unreadable(error: OSError) -> None:
    raise Unavailable(f"cannot read {printable(error.filename)}: {error.strerror}") from error
