"""``earmark evaluate neighbours``: finds phrases that sound like a wake word, and scores them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from listener.audio.pcm import Samples
from listener.cli.main import with_examples
from listener.config import Config, Probability
from listener.errors import UsageError
from listener.evaluate.confusables.phonetics import (
    Phones,
    build_lexicon,
    entries,
    find_dictionary,
    parse_phones,
    pronounce,
)
from listener.evaluate.confusables.search import Neighbour, find_nearest
from listener.evaluate.confusables.speech import VOICES, Voice, find_program, parse_voice, speak
from listener.evaluate.engines.interface import Engine
from listener.evaluate.engines.registry import KINDS, build_recipe
from listener.evaluate.job import build_item_rule
from listener.evaluate.metrics.counting import find_wakes
from listener.evaluate.plan import EngineSettings

MOST: Final = 60
DETAILS: Final = """\
Ranks words of the CMU Pronouncing Dictionary, and pairs of them, by phonetic distance to the wake
word; speaks them with voices of espeak-ng and scores them as on the device. The voices are
synthetic: the result shows which phrases are worth recording, and is not a false-wake rate."""
EXAMPLES: Final = (
    "earmark evaluate neighbours alexa",
    'earmark evaluate neighbours hey-mycroft --phones "HH EY1 M AY1 K R AO2 F T"',
    "earmark evaluate neighbours alexa --voice en-us+f2:160 --voice en-gb+m1",
)


@dataclass(frozen=True, slots=True)
class PhraseResult:
    """Phrase with its phonetic distance, and its scores by voice."""

    phrase: str
    distance: float
    phones: Phones
    scores: tuple[float, ...]
    """Highest score by voice, 0 to 1; empty with ``--silent``."""
    woke: int
    """Number of voices with a wake."""

    @property
    def mean(self) -> float:
        """Mean of the highest scores, 0 to 1."""
        return float(np.mean(self.scores)) if self.scores else 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the action ``neighbours``."""
    parser.epilog = with_examples(DETAILS, *EXAMPLES)
    parser.add_argument("word", metavar="WORD", help="wake word, as earmark models list names it")
    parser.add_argument(
        "--phones",
        metavar="PHONES",
        help="ARPAbet pronunciation of the word (default: from the dictionary)",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=MOST,
        metavar="N",
        help=f"number of phrases, at least 1 (default: {MOST})",
    )
    parser.add_argument("--single", action="store_true", help="no pairs of words")
    parser.add_argument(
        "--voice",
        action="append",
        metavar="NAME[:SPEED[:PITCH]]",
        help="espeak-ng voice, speed in words per minute, pitch 0 to 99; may be repeated"
        " (default: six voices of four accents)",
    )
    parser.add_argument(
        "--silent", action="store_true", help="rank by distance only, without speech and scores"
    )
    parser.add_argument(
        "--engine",
        choices=KINDS[:-1],
        default=KINDS[0],
        help=f"wake-word engine (default: {KINDS[0]})",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="score at or above which it wakes, over 0 and under 1 (default: wake.thresholds, else"
        " the model's)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Find phrases, speak and score them, and print them ranked.

    Raises:
        UsageError: the word is not in the dictionary, or an option is out of range.
        Unavailable: espeak-ng is not installed or has no such voice.
        ConfigError: the dictionary is not installed.
        ModelRefused: the model is missing or differs from its manifest.
    """
    if arguments.most < 1:
        raise UsageError(f"--most {arguments.most} is out of range", "use at least 1")
    dictionary = find_dictionary()
    target = (
        parse_phones(arguments.phones)
        if arguments.phones
        else pronounce(dictionary, arguments.word)
    )
    # Before the search, which takes a second.
    engine_settings = _engine_settings(arguments, settings)
    voices = () if arguments.silent else _voices(arguments.voice)
    program = "" if arguments.silent else find_program()
    known = build_lexicon(list(entries(dictionary)))
    words = find_nearest(known, target, arguments.most, pairs=False)
    found = words[: arguments.most if arguments.single else -(-arguments.most // 2)]
    if not arguments.single:
        have = {each.phrase for each in found}
        rest = [n for n in find_nearest(known, target, 2 * arguments.most) if n.phrase not in have]
        found = sorted([*found, *rest])[: arguments.most]
    if arguments.silent:
        _print_results(
            [PhraseResult(n.phrase, n.distance, n.phones, (), 0) for n in found], (), arguments
        )
        return 0
    engine = build_recipe(engine_settings, Path(settings.home)).build()
    itself = Neighbour(0.0, _spelled(arguments.word), target)
    tried = [
        _score_phrase(each, voices, engine, engine_settings, lambda p, v: speak(program, p, v))
        for each in (itself, *found)
    ]
    tried = [tried[0], *sorted(tried[1:], key=lambda t: (-t.woke, -t.mean, t.distance, t.phrase))]
    _print_results(tried, voices, arguments)
    return 0


def _score_phrase(
    neighbour: Neighbour,
    voices: Sequence[Voice],
    engine: Engine,
    settings: EngineSettings,
    spoken: Callable[[str, Voice], Samples],
) -> PhraseResult:
    word = engine.words[0]
    threshold = settings.thresholds.get(word, engine.thresholds[word])
    scores, woke = [], 0
    for voice in voices:
        track = engine.track([spoken(neighbour.phrase, voice)])
        column = track.of(word)
        scores.append(float(column.max(initial=0.0)))
        rule = build_item_rule(settings, threshold, track.step_samples)
        woke += len(find_wakes(track.end_samples(), column, rule)) > 0
    return PhraseResult(neighbour.phrase, neighbour.distance, neighbour.phones, tuple(scores), woke)


def _engine_settings(arguments: argparse.Namespace, settings: Config) -> EngineSettings:
    wake = settings.wake
    threshold = arguments.threshold or wake.thresholds.get(arguments.word)
    if threshold is not None:
        try:
            threshold = msgspec.convert(threshold, Probability)
        except msgspec.ValidationError as error:
            raise UsageError(f"--threshold {threshold}: {error}") from error
    return EngineSettings(
        kind=arguments.engine,
        words=(arguments.word,),
        thresholds={} if threshold is None else {arguments.word: threshold},
        patience_frames=wake.patience_frames,
        refractory_s=wake.refractory_s,
    )


def _voices(names: Sequence[str] | None) -> tuple[Voice, ...]:
    if not names:
        return VOICES
    found = []
    for name in names:
        voice = parse_voice(name)
        if voice is None:
            raise UsageError(
                f"{name!r} is not a valid voice", "use NAME[:SPEED[:PITCH]], e.g. en-us+f2:160:45"
            )
        found.append(voice)
    return tuple(dict.fromkeys(found))


def _spelled(word: str) -> str:
    return word.replace("-", " ").replace("_", " ")


def _print_results(
    tried: Sequence[PhraseResult], voices: Sequence[Voice], arguments: argparse.Namespace
) -> None:
    for each in tried:
        line = _json(each, voices) if arguments.json else _text(each, len(voices))
        sys.stdout.write(line + "\n")


def _json(each: PhraseResult, voices: Sequence[Voice]) -> str:
    shown: dict[str, object] = {
        "phrase": each.phrase,
        "distance": each.distance,
        "phones": " ".join(each.phones),
    }
    if each.scores:
        named = zip(map(str, voices), each.scores, strict=True)
        shown |= {"voices": len(voices), "woke": each.woke, "scores": dict(named)}
    return msgspec.json.encode(shown).decode()


def _text(each: PhraseResult, voices: int) -> str:
    line = f"{each.phrase:<24}  distance {each.distance:.3f}"
    if not each.scores:
        return f"{line}  {' '.join(each.phones)}"
    highest = f"highest {max(each.scores):.2f}, mean {each.mean:.2f}"
    itself = "  the wake word" if not each.distance else ""
    return f"{line}  woke {each.woke} of {voices}  {highest}{itself}"
