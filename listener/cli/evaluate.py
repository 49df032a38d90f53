"""``earmark evaluate``: measures false wakes and misses of wake-word models, with intervals.

The options over a plan are here, the evaluation of recordings, and with ``--trace`` the evaluation
of traces that ``earmark survey`` recorded.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from listener.cli import compare, confusables, merge, voices
from listener.cli.main import Subcommands, with_examples
from listener.config import Config, describe_threshold
from listener.errors import ConfigError, UsageError
from listener.evaluate import plan as plans
from listener.evaluate.corpus.items import Item
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.corpus.stream import RepeatingCorpus
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.engines.registry import KINDS, build_recipe
from listener.evaluate.excerpts import ExcerptCutter
from listener.evaluate.metrics.results import Result
from listener.evaluate.plan import EvaluationPlan
from listener.evaluate.pool import Processes
from listener.evaluate.presets import PRESETS, picovoice
from listener.evaluate.progress import ItemProgress
from listener.evaluate.report.tables import write_outputs
from listener.evaluate.report.text import CORPUS_NOTE, summary_lines, summary_objects
from listener.evaluate.runner import Evaluation, Workers, open_all
from listener.evaluate.speed import measure_speeds
from listener.evaluate.survey import metrics
from listener.evaluate.survey.parquet import write_parquet
from listener.evaluate.survey.reader import Spans, parse_spans, read_trace
from listener.evaluate.survey.reader import merge as merge_traces
from listener.text_encoding import decode_text
from listener.wakeword.trace import Line

RECORDINGS: Final = "EARMARK_RECORDINGS"


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for recordings, for augmentation, and for models."""
    recordings = parser.add_argument_group("recordings")
    recordings.add_argument(
        "--corpus",
        action="append",
        metavar="PATH",
        help="corpus with labels of its own; may be repeated",
    )
    recordings.add_argument(
        "--positives",
        action="append",
        metavar="PATH",
        help="recordings that each contain the wake word; may be repeated",
    )
    recordings.add_argument(
        "--negatives",
        action="append",
        metavar="PATH",
        help="recordings without the wake word; may be repeated",
    )
    recordings.add_argument(
        "--said", metavar="WORD", help="label of the wake word (default: the model's name)"
    )
    recordings.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="only items whose names match, e.g. 'negative/*'; may be repeated",
    )
    recordings.add_argument(
        "--channel",
        type=int,
        metavar="N",
        help="input channel, from 0 (default: microphone.channel)",
    )
    augmentation = parser.add_argument_group("augmentation")
    augmentation.add_argument(
        "--noise", metavar="PATH", help="noise file or a folder of them; needs --snr-db"
    )
    augmentation.add_argument(
        "--snr-db",
        action="append",
        type=float,
        metavar="X",
        help="signal-to-noise ratio in dB; may be repeated; without noise is evaluated, too",
    )
    augmentation.add_argument(
        "--room", metavar="PATH", help="room impulse response, or a folder of them"
    )
    augmentation.add_argument(
        "--plays",
        type=int,
        metavar="K",
        help="play each item K times, shifted by fractions of a step (default: 1)",
    )
    augmentation.add_argument(
        "--stream",
        action="store_true",
        default=None,
        help="play all items as one stream, so that none starts fresh",
    )
    augmentation.add_argument(
        "--seed", type=int, metavar="N", help="seed of all random choices (default: 1)"
    )
    protocol = parser.add_argument_group("public protocols")
    protocol.add_argument(
        "--preset",
        choices=PRESETS,
        help="recordings and conditions of a public protocol; picovoice needs --librispeech and"
        " --demand",
    )
    protocol.add_argument(
        "--checkout",
        metavar="DIR",
        default=".",
        help="checkout of the protocol's repository, with its recordings (default: .)",
    )
    protocol.add_argument(
        "--librispeech", metavar="DIR", help="the folder test-clean of LibriSpeech"
    )
    protocol.add_argument("--demand", metavar="DIR", help="the folder of DEMAND")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--plan",
        metavar="FILE",
        help="TOML file with engines, recordings and conditions; options override it",
    )
    models.add_argument(
        "--second-opinion",
        choices=("on", "off"),
        help="ask the second network of a word that has one (default: wake.second_opinion)",
    )
    models.add_argument(
        "--first-stage",
        choices=("on", "off"),
        help="score only what a device with wake.first_stage computes (default: wake.first_stage)",
    )
    models.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="wake word, as earmark models list names it; may be repeated (default: wake.words)",
    )
    models.add_argument(
        "--engine",
        action="append",
        choices=KINDS,
        help="wake-word engine; may be repeated (default: earmark)",
    )
    models.add_argument(
        "--command", nargs="+", metavar="WORD", help="command line of the engine command"
    )
    models.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="score at or above which each word wakes, over 0 and under 1 (default:"
        " wake.thresholds, else the model's)",
    )
    models.add_argument(
        "--target-false-wakes-per-hour",
        type=float,
        metavar="X",
        help="choose each threshold for this rate of false wakes per hour",
    )
    models.add_argument(
        "--prior",
        action="append",
        type=float,
        metavar="P",
        help="prior of the detection cost: probability that a second contains the word; may be"
        " repeated (default: 0.0001)",
    )


def build_plan(arguments: argparse.Namespace, settings: Config) -> EvaluationPlan:
    """Return the plan with the options applied, or a plan of options and configuration.

    Raises:
        ConfigError: plan or option is out of range, or they contradict each other.
        UsageError: the plan cannot be read, or the options are incomplete.
    """
    raw: dict[str, Any] = {}
    source = "the options"
    if arguments.plan is not None:
        source = arguments.plan
        raw = plans.to_builtins(plans.parse(_read(Path(source)), source))
    for option in ("only", "plays", "seed", "stream", "channel", "target_false_wakes_per_hour"):
        value = getattr(arguments, option)
        if value is not None:
            raw[option] = value
    if arguments.prior:
        raw["priors"] = arguments.prior
    raw.setdefault("channel", settings.microphone.channel)
    if arguments.plan is None or arguments.model or arguments.engine:
        raw["engine"] = _engines(arguments, settings)
    if arguments.threshold is not None:
        for engine in raw["engine"]:
            engine["thresholds"] = dict.fromkeys(engine["words"], arguments.threshold)
    raw |= _sounds(arguments, raw)
    _check_thresholds(raw["engine"], source, is_option=arguments.threshold is not None)
    try:
        plan = msgspec.convert(raw, EvaluationPlan)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{source}: {error}", "see docs/research/index.md for every key"
        ) from error
    return plans.complete_plan(plan, source)


def _sounds(arguments: argparse.Namespace, raw: dict[str, Any]) -> dict[str, Any]:
    """Return the tables of recordings and conditions that the options give."""
    if arguments.preset:
        return _preset(arguments, raw["engine"], raw)
    tables: dict[str, Any] = {}
    if corpora := _corpora(arguments, raw["engine"]):
        tables["corpus"] = corpora
    if arguments.noise or arguments.room or arguments.snr_db:
        tables["condition"] = _conditions(arguments)
    return tables


def _check_thresholds(engines: Sequence[dict[str, Any]], source: str, *, is_option: bool) -> None:
    """Raise ConfigError for a threshold that is out of range; name its word."""
    for engine in engines:
        for word, threshold in engine.get("thresholds", {}).items():
            if fault := describe_threshold(word, threshold):
                named = "--threshold" if is_option else "thresholds"
                raise ConfigError(f"{source}: {named}: {fault}", "choose a number between them")


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
            "second_opinion": arguments.second_opinion == "on"
            if arguments.second_opinion
            else wake.second_opinion,
            "first_stage": kind == "earmark"
            and (arguments.first_stage or ("on" if wake.first_stage else "off")) == "on",
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
                "--positives needs a single wake word, but there are several models",
                "list the recordings with their words in a manifest or a plan",
            )
        named += [
            {"path": path, "word": said.pop() if said else first} for path in arguments.positives
        ]
    named += [{"path": path} for path in arguments.negatives or ()]
    if not named and arguments.plan is None and (recordings := os.environ.get(RECORDINGS)):
        named = [{"path": recordings}]
    return named


def _preset(
    arguments: argparse.Namespace, engines: Sequence[dict[str, Any]], given: dict[str, Any]
) -> dict[str, Any]:
    """Return the tables of the preset; a rate of false wakes that was given stays."""
    for option in ("corpus", "positives", "negatives", "noise", "room", "snr_db", "plan"):
        if getattr(arguments, option):
            name = option.replace("_", "-")
            raise UsageError(f"--preset and --{name} exclude each other", "pass one of them")
    if not arguments.librispeech or not arguments.demand:
        raise UsageError(
            f"--preset {arguments.preset} needs --librispeech and --demand",
            "pass the folders of LibriSpeech test-clean and of DEMAND",
        )
    words = {each["said"].get(word, word) for each in engines for word in each["words"]}
    if len(words) > 1:
        raise UsageError(
            f"--preset {arguments.preset} is of a single word, but there are several models",
            "pass one --model, or --said with the word that all of them detect",
        )
    tables = picovoice(
        Path(arguments.checkout), Path(arguments.librispeech), Path(arguments.demand), words.pop()
    )
    return {**tables, **{key: given[key] for key in tables if key in given}}


def _conditions(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if bool(arguments.noise) != bool(arguments.snr_db):
        raise UsageError("--noise and --snr-db need each other", "pass both or none")
    room = {"room": arguments.room} if arguments.room else {}
    noisy = [
        {"noise": arguments.noise, "snr_db": level, **room} for level in arguments.snr_db or ()
    ]
    return [{}, *([room] if room else []), *noisy]


def _read(path: Path) -> str:
    try:
        return decode_text(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the plan {path}: {reason}") from error


def add_trace_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for traces of ``earmark survey``."""
    group = parser.add_argument_group("surveys")
    group.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help="evaluate a trace of earmark survey instead of recordings; may be repeated",
    )
    group.add_argument(
        "--exclude",
        metavar="FILE",
        help="time spans to leave out: begin, end and name, separated by tabs",
    )
    group.add_argument(
        "--stimuli",
        metavar="FILE",
        help="time spans in which the wake word was played, in the format of --exclude",
    )
    group.add_argument(
        "--parquet", metavar="FILE", help="also write the traces to one Parquet file"
    )


def evaluate_survey(arguments: argparse.Namespace, settings: Config) -> tuple[Result, None]:
    """Merge the traces and compute their rates; a trace has no audio.

    Raises:
        UsageError: an option is for recordings only, or a threshold is below the trace's floor.
        ConfigError: a file of time spans is invalid, or traces cannot be merged.
        Unavailable: a file cannot be read or written.
    """
    del settings  # the trace has its own configuration
    for option in (
        "corpus",
        "positives",
        "negatives",
        "plan",
        "noise",
        "room",
        "plays",
        "cluster",
        "preset",
        "stream",
        "speed",
    ):
        if getattr(arguments, option, None):
            raise UsageError(f"--trace and --{option} exclude each other", "pass one of them")
    paths = [Path(name) for name in arguments.trace]
    excluded, stimuli = _spans(arguments.exclude), _spans(arguments.stimuli)
    merged = merge_traces(paths, excluded, stimuli)
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
    models |= {
        f"second opinion {name}": each.second_opinion
        for name, each in merged.words.items()
        if each.second_opinion
    }
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
        text = decode_text(Path(name).read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read {name}: {reason}") from error
    return parse_spans(text, name)


DETAILS: Final = """\
PATH is a folder of audio files, a TSV or JSON Lines manifest, a folder with a manifest.json, or a
LibriSpeech or Common Voice corpus; docs/research/index.md describes each, and the metrics. Without
a PATH, the folder in $EARMARK_RECORDINGS is used. Audio that is listed several times counts once;
notes that begin with corpus: say what is left out or counted differently than it is listed.

The results are result.json, rates.csv, curve.csv, events.csv, table.tex (LaTeX), report.html, and
in figures/ each figure as SVG and PNG with its data as CSV. Scores are cached in scores/: an
interrupted run continues, and another threshold needs no new scores. earmark evaluate compare tests
two results of the same items against each other.

The exit code is 1 if an item could not be evaluated, or if the recordings are too short to support
--target-false-wakes-per-hour."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark evaluate`` and its action ``neighbours``."""
    actions = Subcommands(
        parser,
        epilog=with_examples(
            DETAILS,
            "earmark evaluate --positives alexa/ --negatives speech/ --model alexa",
            "earmark evaluate --corpus corpus/ --noise kitchen.wav --snr-db 10 --snr-db 0",
            "earmark evaluate --plan plan.toml --out results --jobs 4",
            "earmark evaluate --trace kitchen.trace --stimuli played.tsv",
        ),
        default="run",
    )
    confusables.add_arguments(
        actions.add(
            "neighbours",
            "find phrases that sound like a wake word, and score them",
            *confusables.EXAMPLES,
        )
    )
    compare.add_arguments(
        actions.add("compare", "compare two results on the same items", *compare.EXAMPLES)
    )
    merge.add_arguments(actions.add("merge", "join the surveys of several homes", *merge.EXAMPLES))
    voices.add_arguments(actions.add("voices", "measure attribution by voice", *voices.EXAMPLES))
    add_plan_options(parser)
    add_trace_options(parser)
    running = parser.add_argument_group("run and output")
    running.add_argument(
        "--out",
        metavar="DIR",
        default="evaluation",
        help="folder for the results (default: evaluation)",
    )
    running.add_argument(
        "--cache",
        metavar="DIR",
        help="folder for cached scores (default: scores in the folder for the results)",
    )
    running.add_argument(
        "--jobs",
        type=int,
        default=-1,
        metavar="N",
        help="number of worker processes (default: one for each core)",
    )
    running.add_argument(
        "--cluster", metavar="ADDRESS", help="run on the Dask cluster at this address"
    )
    running.add_argument(
        "--speed",
        action="store_true",
        help="also measure the real-time factor and the CPU time of each engine on a minute of the"
        " recordings; these figures differ from run to run",
    )
    running.add_argument(
        "--with-sound",
        action="store_true",
        help="embed the audio around each false wake in report.html; the licence and privacy of the"
        " corpus then apply to the page",
    )
    running.add_argument("--json", action="store_true", help="print one JSON object a line")


_ACTIONS: Final = {
    "neighbours": confusables.run,
    "compare": compare.run,
    "merge": merge.run,
    "voices": voices.run,
}


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Evaluate; return 1 if an item is missing or a target rate is not supported.

    Raises:
        EarmarkError: the plan, the recordings or the models cannot be used.
    """
    if arguments.action in _ACTIONS:
        return _ACTIONS[arguments.action](arguments, settings)
    out = Path(arguments.out)
    evaluate = evaluate_survey if arguments.trace else _evaluate_plan
    with _interrupted_by_signals():
        result, cutter = evaluate(arguments, settings)
    write_outputs(result, out, cutter)
    if arguments.json:
        for line in summary_objects(result):
            print(line.decode())
        for warning in result.warnings:
            # The other warnings say what the objects say; all of them are in result.json.
            if warning.startswith(CORPUS_NOTE):
                print(f"earmark: {warning}", file=sys.stderr)
    else:
        for text in summary_lines(result):
            print(text)
        print(f"charts: {out / 'report.html'}")
    return int(bool(result.missing) or not _claims_hold(result))


class _SignalInterrupt(KeyboardInterrupt):
    """End of the run by a signal other than SIGINT."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        """The signal's number."""


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Interrupt the run at SIGTERM and SIGHUP, as at Ctrl-C: its workers are ended first."""

    def interrupt(number: int, _: object) -> None:
        raise _SignalInterrupt(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(each) is not signal.SIG_IGN:  # nohup
                before[each] = signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _evaluate_plan(
    arguments: argparse.Namespace, settings: Config
) -> tuple[Result, ExcerptCutter | None]:
    plan = build_plan(arguments, settings)
    corpus = open_all(plan)
    sizes = [_bytes(item) if isinstance(item, Item) else 0 for item in corpus]
    if not sizes:
        # An evaluation of nothing would support every target rate.
        raise UsageError(
            "there is nothing to evaluate: the corpus has no item",
            "; ".join(
                (
                    "check --positives, --negatives, --corpus and --only",
                    "list the audio files in the folder or the lines of the table",
                    *corpus.notes(),
                )
            ),
        )
    result = _run_with_progress(plan, corpus, sizes, arguments, settings)
    if arguments.speed:
        recipes = (
            (each.name, build_recipe(each, Path(settings.home)))
            for each in plan.engine
            if each.name in {word.engine for word in result.words}
        )
        speeds = measure_speeds(recipes, corpus, plan.channel)
        result = msgspec.structs.replace(result, speeds=speeds)
    return result, ExcerptCutter(plan, corpus) if arguments.with_sound else None


def _run_with_progress(
    plan: EvaluationPlan,
    corpus: RepeatingCorpus,
    sizes: Sequence[int],
    arguments: argparse.Namespace,
    settings: Config,
) -> Result:
    with ItemProgress(len(sizes), sum(sizes), sys.stderr) as progress:
        return Evaluation(
            plan=plan,
            recipe=lambda engine: build_recipe(engine, Path(settings.home)),
            workers=_workers(arguments),
            cache=Path(arguments.cache or Path(arguments.out) / "scores"),
            advance=lambda item: progress.advance(_bytes(item)),
            announce=progress.begin,
            corpus=corpus,
        ).run()


def _workers(arguments: argparse.Namespace) -> Workers:
    if arguments.cluster is None:
        return Processes(arguments.jobs)
    from listener.evaluate.pool import Cluster  # noqa: PLC0415 - Dask is needed for a cluster only

    return Cluster(arguments.cluster)


def _claims_hold(result: Result) -> bool:
    return all(word.target is None or word.target.carried for word in result.words)


def _bytes(item: Item) -> int:
    try:
        return item.path.stat().st_size
    except (OSError, ValueError):  # reported later as a missing item
        return 0
