"""The options that say what is played to whom, and the plan that they make."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from listener.config import Config
from listener.errors import ConfigError, UsageError
from listener.evaluate import plan as plans
from listener.evaluate.engines.recipes import KINDS
from listener.evaluate.plan import EvaluationPlan

RECORDINGS: Final = "EARMARK_RECORDINGS"


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of sounds, of their mixing, and of models."""
    sounds = parser.add_argument_group("sounds")
    sounds.add_argument(
        "--corpus", action="append", metavar="PATH", help="says itself what is said in it"
    )
    sounds.add_argument(
        "--positives", action="append", metavar="PATH", help="the word is said in each item"
    )
    sounds.add_argument(
        "--negatives", action="append", metavar="PATH", help="the word is never said"
    )
    sounds.add_argument(
        "--said", metavar="WORD", help="what labels call the word (default: the model's name)"
    )
    sounds.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="play only items of such names, e.g. 'negative/*'",
    )
    sounds.add_argument(
        "--channel", type=int, metavar="N", help="which channel of a file is heard (default: 0)"
    )
    mixing = parser.add_argument_group("mixing")
    mixing.add_argument("--noise", metavar="PATH", help="a noise, or a folder of them")
    mixing.add_argument(
        "--snr-db",
        action="append",
        type=float,
        metavar="X",
        help="speech over noise; may be repeated; clean is played too",
    )
    mixing.add_argument("--room", metavar="PATH", help="an impulse response, or a folder of them")
    mixing.add_argument(
        "--plays",
        type=int,
        metavar="K",
        help="play each item K times, at K phases of a step (default: 1)",
    )
    mixing.add_argument("--seed", type=int, metavar="N", help="of every random choice (default: 1)")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--plan",
        metavar="FILE",
        help="engines, settings and sounds in TOML; options come before it",
    )
    models.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="wake word, see earmark models list; may be repeated (default: wake.words)",
    )
    models.add_argument(
        "--engine",
        action="append",
        choices=KINDS,
        help="what runs them; may be repeated (default: earmark)",
    )
    models.add_argument("--command", nargs="+", metavar="WORD", help="of the engine command")
    models.add_argument(
        "--threshold", type=float, metavar="X", help="score from which each word wakes"
    )
    models.add_argument(
        "--target-false-wakes-per-hour",
        type=float,
        metavar="X",
        help="choose each threshold for this rate",
    )


def build_plan(arguments: argparse.Namespace, settings: Config) -> EvaluationPlan:
    """Put the options over the plan, or make one of them and the settings.

    Raises:
        ConfigError: the plan or an option is out of range, or they contradict each other.
        UsageError: the plan cannot be read, or options say too little.
    """
    raw: dict[str, Any] = {}
    source = "the options"
    if arguments.plan is not None:
        source = arguments.plan
        raw = plans.to_builtins(plans.parse(_read(Path(source)), source))
    for option in ("only", "plays", "seed", "channel", "target_false_wakes_per_hour"):
        value = getattr(arguments, option)
        if value is not None:
            raw[option] = value
    raw.setdefault("channel", settings.microphone.channel)
    if arguments.plan is None or arguments.model or arguments.engine:
        raw["engine"] = _engines(arguments, settings)
    if arguments.threshold is not None:
        for engine in raw["engine"]:
            engine["thresholds"] = dict.fromkeys(engine["words"], arguments.threshold)
    corpora = _corpora(arguments, raw["engine"])
    if corpora:
        raw["corpus"] = corpora
    if arguments.noise or arguments.room or arguments.snr_db:
        raw["condition"] = _conditions(arguments)
    try:
        plan = msgspec.convert(raw, EvaluationPlan)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}", "docs/research/index.md lists every key") from error
    return plans.complete_plan(plan, source)


def _engines(arguments: argparse.Namespace, settings: Config) -> list[dict[str, Any]]:
    words = arguments.model or list(settings.wake.words)
    wake = settings.wake
    return [
        {
            "kind": kind,
            "words": words,
            "thresholds": {w: t for w, t in wake.thresholds.items() if w in words},
            "patience_frames": wake.patience_frames,
            "refractory_s": wake.refractory_s,
            "near_miss_threshold": wake.near_miss_threshold,
            "hop_ms": wake.hop_ms,
            "command": (arguments.command or []) if kind == "command" else [],
            "said": dict.fromkeys(words, arguments.said) if arguments.said else {},
        }
        for kind in dict.fromkeys(arguments.engine or ["earmark"])
    ]


def _corpora(
    arguments: argparse.Namespace, engines: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    named = [{"path": path} for path in arguments.corpus or ()]
    if arguments.positives:
        first = engines[0]["words"][0]
        said = {
            engine.get("said", {}).get(word, word) for engine in engines for word in engine["words"]
        }
        if len(said) > 1:
            raise UsageError(
                "--positives with several models does not say which word is said",
                "put the sounds into a manifest or a plan, with a word each",
            )
        named += [
            {"path": path, "word": said.pop() if said else first} for path in arguments.positives
        ]
    named += [{"path": path} for path in arguments.negatives or ()]
    if not named and arguments.plan is None and (recordings := os.environ.get(RECORDINGS)):
        named = [{"path": recordings}]
    return named


def _conditions(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if bool(arguments.noise) != bool(arguments.snr_db):
        raise UsageError("--noise and --snr-db belong together")
    room = {"room": arguments.room} if arguments.room else {}
    noisy = [
        {"noise": arguments.noise, "snr_db": level, **room} for level in arguments.snr_db or ()
    ]
    return [{}, *([room] if room else []), *noisy]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read the plan {path}: {reason}") from error
