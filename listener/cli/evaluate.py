"""The verb ``evaluate``: how often models wake wrongly, and how often not at all.

The options that say what is played to whom, and the plan that they make.

``earmark evaluate --trace``: rates from what ``earmark survey`` kept of rooms.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from listener.cli import confusables as neighbours
from listener.cli.main import Subcommands
from listener.config import Config
from listener.errors import ConfigError, UsageError
from listener.evaluate import plan as plans
from listener.evaluate.corpus.items import Item
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.engines.registry import KINDS, build_recipe
from listener.evaluate.excerpts import ExcerptCutter
from listener.evaluate.metrics.results import Result
from listener.evaluate.plan import EvaluationPlan
from listener.evaluate.pool import Processes
from listener.evaluate.progress import ProgressLine
from listener.evaluate.report.tables import write_outputs
from listener.evaluate.report.text import summary_lines, summary_objects
from listener.evaluate.runner import Evaluation, Workers, open_all
from listener.evaluate.survey import metrics
from listener.evaluate.survey.parquet import write_parquet
from listener.evaluate.survey.reader import Spans, merge, parse_spans, read_trace
from listener.wakeword.trace import Line

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


def add_trace_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of surveys."""
    group = parser.add_argument_group("surveys")
    group.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help="of earmark survey, of any device; may be repeated; nothing is played",
    )
    group.add_argument(
        "--exclude",
        metavar="FILE",
        help="stretches that do not count: begin, end and name, with tabs between",
    )
    group.add_argument(
        "--stimuli", metavar="FILE", help="what was played when, in lines of the same form"
    )
    group.add_argument("--parquet", metavar="FILE", help="write the traces as one Parquet file")


def evaluate_survey(arguments: argparse.Namespace, settings: Config) -> tuple[Result, None]:
    """Merge the traces and judge them; there is never any sound to them.

    Raises:
        UsageError: an option belongs to sounds, or a threshold cannot be judged.
        ConfigError: a file of stretches is none, or traces do not fit together.
        Unavailable: a file cannot be read or written.
    """
    del settings  # a trace says itself how it was made
    for option in ("corpus", "positives", "negatives", "plan", "noise", "room", "plays", "cluster"):
        if getattr(arguments, option, None):
            raise UsageError(f"--trace plays nothing, so --{option} has no sense with it")
    paths = [Path(name) for name in arguments.trace]
    excluded, stimuli = _spans(arguments.exclude), _spans(arguments.stimuli)
    merged = merge(paths, excluded, stimuli)
    wanted: Sequence[str] = arguments.model or sorted(merged.words)
    thresholds = {} if arguments.threshold is None else dict.fromkeys(wanted, arguments.threshold)
    words = metrics.compute_rates(merged, stimuli, thresholds)
    if arguments.model:
        words = tuple(word for word in words if word.word in wanted)
    if arguments.parquet:
        write_parquet(_all_lines(paths), Path(arguments.parquet))
    files = [(f"trace {path.name}", path) for path in paths]
    files += [
        (f"{name} {Path(given).name}", Path(given))
        for name, given in (("exclude", arguments.exclude), ("stimuli", arguments.stimuli))
        if given
    ]
    models = {f"model {name}": each.sha256 for name, each in merged.words.items()}
    result = Result(
        plan={
            "traces": [path.name for path in paths],
            "floor": merged.floor,
            "excluded_s": round(merged.excluded_s, 3),
            "missing_s": {reason: round(s, 3) for reason, s in sorted(merged.missing_s.items())},
            "thresholds": thresholds,
        },
        hashes={name: file_hash(path) for name, path in files} | models | {"code": code_hash()},
        versions=versions(),
        definitions=metrics.DEFINITIONS,
        warnings=metrics.list_warnings(merged, words),
        missing=tuple(merged.troubles),
        words=words,
    )
    return result, None


def _all_lines(paths: Sequence[Path]) -> Iterator[Line]:
    for path in paths:
        yield from (line for line in read_trace(path, []) if line is not None)


def _spans(name: str | None) -> Spans:
    if name is None:
        return Spans()
    try:
        text = Path(name).read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {name}: {reason}") from error
    return parse_spans(text, name)


DETAILS: Final = """\
PATH is a folder of sounds, a TSV or JSON Lines manifest, a folder with a manifest.json, or a
collection of LibriSpeech or Common Voice as it is; docs/research/index.md tells what each may hold,
what is counted and how. Without any PATH the folder that EARMARK_RECORDINGS names is played.

DIR gets result.json, rates.csv, curve.csv, events.csv, report.html, and in scores/ the scores of
every sound: a run that was stopped goes on where it was, and another threshold costs nothing.

The exit code is 1 if something could not be played, or if --target-false-wakes-per-hour is a claim
that these hours cannot carry."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's own arguments; without an action, it evaluates."""
    actions = Subcommands(parser, epilog=DETAILS, default="run")
    neighbours.add_arguments(
        actions.add("neighbours", "find phrases that sound like a wake word, and wake it")
    )
    add_plan_options(parser)
    add_trace_options(parser)
    running = parser.add_argument_group("running")
    running.add_argument(
        "--out",
        metavar="DIR",
        default="evaluation",
        help="folder of the results (default: evaluation)",
    )
    running.add_argument(
        "--cache",
        metavar="DIR",
        help="folder of the scores (default: scores in the folder of the results)",
    )
    running.add_argument(
        "--jobs",
        type=int,
        default=-1,
        metavar="N",
        help="worker processes (default: one for each core)",
    )
    running.add_argument("--cluster", metavar="ADDRESS", help="work on a Dask cluster instead")
    running.add_argument(
        "--with-sound",
        action="store_true",
        help="put the sound around each false wake into the page: share it only as the corpus",
    )
    running.add_argument("--json", action="store_true", help="one object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Evaluate; 1 if something is missing, or a claim is not carried.

    Raises:
        EarmarkError: the plan, the sounds or the models cannot be used.
    """
    if arguments.action == "neighbours":
        return neighbours.run(arguments, settings)
    out = Path(arguments.out)
    judge = evaluate_survey if arguments.trace else _run_plan
    result, sound = judge(arguments, settings)
    write_outputs(result, out, sound)
    if arguments.json:
        for line in summary_objects(result):
            print(line.decode())
    else:
        for text in summary_lines(result):
            print(text)
        print(f"{out / 'report.html'} has the pictures")
    return int(bool(result.missing) or not _claims_hold(result))


def _run_plan(
    arguments: argparse.Namespace, settings: Config
) -> tuple[Result, ExcerptCutter | None]:
    plan = build_plan(arguments, settings)
    total = sum(_bytes(item) for item in open_all(plan) if isinstance(item, Item))
    with ProgressLine(total, sys.stderr) as remaining:
        result = Evaluation(
            plan=plan,
            recipe=lambda engine: build_recipe(engine, Path(settings.home)),
            workers=_workers(arguments),
            cache=Path(arguments.cache or Path(arguments.out) / "scores"),
            advance=lambda item: remaining.advance(_bytes(item)),
        ).run()
    return result, ExcerptCutter(plan) if arguments.with_sound else None


def _workers(arguments: argparse.Namespace) -> Workers:
    if arguments.cluster is None:
        return Processes(arguments.jobs)
    from listener.evaluate.pool import Cluster  # noqa: PLC0415 - for who asks for a cluster

    return Cluster(arguments.cluster)


def _claims_hold(result: Result) -> bool:
    return all(word.target is None or word.target.carried for word in result.words)


def _bytes(item: Item) -> int:
    try:
        return item.path.stat().st_size
    except (OSError, ValueError):  # it will be missing, and said so
        return 0
