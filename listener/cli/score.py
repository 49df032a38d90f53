"""``earmark score``: prints the scores that the device's detector gives to recordings.

Files are scored one after the other, each from a fresh detector state, in constant memory, without
skipping a step, so that the scores can be compared with those of another engine.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ, Framer, Gap, GapReason
from listener.cli.main import with_examples
from listener.config import Config, Probability, WakeSettings
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.evaluate.corpus.datasets import list_files, skipped_note
from listener.evaluate.corpus.spelling import find_file
from listener.evaluate.progress import ProgressLine
from listener.inference.build import load_detector
from listener.inference.catalogue import Catalogue
from listener.storage.recordings import SUFFIXES, Recording, describe_short, open_recording
from listener.wakeword.detector import Step, StreamDetector, Wake

BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ
"""Samples read at once; the block length does not change a score."""


@dataclass(slots=True)
class Summary:
    """Totals of one file."""

    samples: int = 0
    """Scored length in samples at 16 kHz."""
    highest: dict[str, float] = field(default_factory=dict)
    """Highest score, 0 to 1, by wake word; a word without a computed score is absent."""
    wakes: list[Wake] = field(default_factory=list)


class ScoreReport(Protocol):
    """Output format: receives the steps, wakes and totals of each file in order."""

    def step(self, file: str, step: Step) -> None:
        """Receive the scores of one step."""

    def wake(self, file: str, wake: Wake) -> None:
        """Receive a wake, after its step."""

    def end(self, file: str, summary: Summary) -> None:
        """Receive the totals of a file that was read to its end."""


class StepLines:
    """Output of ``--json``: one object for each step."""

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
        """Print nothing: the steps have the scores."""

    def end(self, file: str, summary: Summary) -> None:
        """Print nothing: the steps have the scores."""


class WakeLines:
    """Output of ``--wakes``: one line for each wake, as text or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def step(self, file: str, step: Step) -> None:
        """Print nothing."""

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
        """Print nothing: the wakes are printed already."""


class ScoreTable:
    """Default output: one line for each file, with the highest score by word, and the wakes."""

    def __init__(self, words: Sequence[str], files: Sequence[str]) -> None:
        self._words = words
        self._width = max(map(len, ("file", *files)))
        head = "  ".join(f"{word:>{max(5, len(word))}}" for word in words)
        print(f"{'file':<{self._width}}  {'seconds':>8}  {head}  wakes")

    def step(self, file: str, step: Step) -> None:
        """Print nothing: the highest score is printed at the end."""

    def wake(self, file: str, wake: Wake) -> None:
        """Print nothing: the wakes are printed at the end."""

    def end(self, file: str, summary: Summary) -> None:
        """Print the line of the file."""
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
    """Return a file name for printing; bytes that are not UTF-8 are replaced."""
    return os.fsencode(name).decode(errors="replace")


def _seconds(wake: Wake) -> str:
    return f"{wake.end_sample / SAMPLE_RATE_HZ:.2f} s"


def _print_json(shown: object) -> None:
    print(msgspec.json.encode(shown).decode())


DETAILS: Final = """\
Each 80 ms of audio is a step, or each 40 ms with --hop-ms 40. An incomplete step at the end of a
file is not scored. A model of several phrases has the score of its best phrase, and a score for
each phrase. Audio is resampled to 16 kHz; of several channels, microphone.channel is used.

--json prints an object for every step, from the first:
  {"file":"a.flac","first_sample":0,"end_sample":1280,"scores":{"alexa":0.0}}
Every step is scored. With --as-device, steps that the device does not compute have no scores: {};
those of a word that its first stage excludes have none for that word. --lazy is the part of it that
skips the steps of a quiet room.
--json --wakes prints an object for every wake:
  {"file":"a.flac","word":"alexa","score":0.93,"end_sample":30720,"seconds":1.92,"threshold":0.5}

A file that cannot be read, is damaged or is shorter than a step is reported on standard error; the
others are scored, and the exit code is 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``earmark score``."""
    parser.epilog = with_examples(
        DETAILS,
        "earmark score kitchen.flac",
        "earmark score recordings/ --model alexa --model hey-jarvis --wakes",
        "earmark score kitchen.flac --json --hop-ms 40",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="audio file (WAV, FLAC, Ogg, MP3, AIFF, AU, CAF, W64), or a folder: all such files"
        " in it and below it; files of other kinds are counted in a note",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="wake word, as earmark models list names it; may be repeated (default: wake.words)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--wakes", action="store_true", help="print wakes only")
    parser.add_argument(
        "--lazy", action="store_true", help="skip steps of a quiet room, as the device does"
    )
    parser.add_argument(
        "--as-device",
        action="store_true",
        help="compute the steps that the device computes: wake.lazy and wake.first_stage apply",
    )
    parser.add_argument(
        "--second-opinion",
        choices=("on", "off"),
        help="ask the second network of a word that has one (default: wake.second_opinion)",
    )
    parser.add_argument(
        "--hop-ms",
        type=int,
        choices=(40, 80),
        help="time between scores in ms (default: wake.hop_ms)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="score at or above which each word wakes, over 0 and under 1 (default:"
        " wake.thresholds, else the model's)",
    )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Score the files; return 1 if one could not be read to its end.

    Raises:
        EarmarkError: a model is missing or refused, or an argument is out of range.
    """
    wake = wake_settings(arguments, settings.wake)
    paths = expand(arguments.files)
    catalogue = Catalogue(Path(settings.home))
    words = [catalogue.load(name) for name in wake.words]
    for word in words:
        if word.manifest.kind != "wake-word":
            raise UsageError(
                f"{word.name} is not a wake-word model",
                "choose one of the kind wake-word: earmark models list",
            )
    detector = load_detector(catalogue, words, wake)
    if wake.first_stage:
        first_stage = catalogue.first_stage(words)
        used = "none was trained for these words" if first_stage is None else first_stage.name
        print(f"earmark: first stage: {used}", file=sys.stderr)
    report = _report(arguments, wake.words, paths)
    damaged = 0
    with ProgressLine(len(paths), sys.stderr, sys.stdout) as remaining:
        for number, path in enumerate(paths):
            file = printable(path)
            advance = partial(remaining.set_position, number)
            try:
                with open_recording(path, settings.microphone.channel) as recording:
                    summary = score_recording(detector, recording, file, report, advance)
                    report.end(file, summary)
                    if not summary.samples:
                        raise Unavailable(describe_short(path, recording.length_samples))
            except EarmarkError as error:
                damaged += 1
                _print_error(error)
    return int(damaged > 0)


def wake_settings(arguments: argparse.Namespace, settings: WakeSettings) -> WakeSettings:
    """Return the wake-word configuration with the arguments applied.

    Raises:
        UsageError: the threshold is out of range.
    """
    words = tuple(dict.fromkeys(arguments.model or settings.words))
    thresholds = settings.thresholds
    if arguments.threshold is not None:
        try:
            threshold = msgspec.convert(arguments.threshold, Probability)
        except msgspec.ValidationError as error:
            raise UsageError(
                f"--threshold {arguments.threshold}: the range is over 0 and under 1"
            ) from error
        thresholds = dict.fromkeys(words, threshold)
    return msgspec.structs.replace(
        settings,
        words=words,
        thresholds=thresholds,
        lazy=arguments.lazy or (arguments.as_device and settings.lazy),
        first_stage=arguments.as_device and settings.first_stage,
        second_opinion=arguments.second_opinion == "on"
        if arguments.second_opinion
        else settings.second_opinion,
        hop_ms=arguments.hop_ms or settings.hop_ms,
    )


def expand(names: Sequence[str]) -> list[Path]:
    """Replace each folder by the audio files in it and below it, sorted by name.

    Raises:
        UsageError: a folder contains none.
        Unavailable: a folder cannot be read.
    """
    paths: list[Path] = []
    for name in names:
        path = find_file(Path(name))
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises on invalid names
            paths.append(path)
            continue
        others: Counter[str] = Counter()
        audio_files = sorted(list_files(path, SUFFIXES, others))
        note = skipped_note(path, others)
        if not audio_files:
            raise UsageError(
                f"there is no audio file in {printable(name)}",
                f"name a folder with files that end in {', '.join(sorted(SUFFIXES))}"
                + (f"; {note}" if note else ""),
            )
        if note:
            print(f"earmark: {printable(note)}", file=sys.stderr)
        paths += audio_files
    return paths


def score_recording(
    detector: StreamDetector,
    recording: Recording,
    file: str,
    report: ScoreReport,
    advance: Callable[[float], None],
) -> Summary:
    """Score one recording from a fresh detector state.

    Args:
        detector: detector; its state is reset.
        recording: the audio; an incomplete frame at its end is ignored.
        file: name in the report.
        report: receives each step and each wake.
        advance: called with the fraction of the recording that is done, 0 to 1.

    Returns:
        The totals of the recording.

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
    # The output about the file comes before its error.
    sys.stdout.flush()
    print(f"earmark: error: {printable(str(error))}", file=sys.stderr)
    if error.hint:
        print(f"earmark: hint: {error.hint}", file=sys.stderr)
