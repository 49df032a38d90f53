"""The verb ``evaluate``: how often models wake wrongly, and how often not at all."""

import argparse
import sys
from pathlib import Path
from typing import Final

from listener.actions import Subcommands
from listener.config import Config
from listener.evaluate import options
from listener.evaluate.corpus.items import Item
from listener.evaluate.engines.recipes import build_recipe
from listener.evaluate.neighbours import command as neighbours
from listener.evaluate.preparation import open_all
from listener.evaluate.rates.result import Result
from listener.evaluate.remaining import ProgressLine
from listener.evaluate.report.outputs import write_outputs
from listener.evaluate.report.summary import summary_lines, summary_objects
from listener.evaluate.running import Evaluation, Workers
from listener.evaluate.sounds import ExcerptCutter
from listener.evaluate.surveys import traced
from listener.evaluate.workers import Processes

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
    options.add_plan_options(parser)
    traced.add_trace_options(parser)
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
    judge = traced.evaluate_survey if arguments.trace else _played
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


def _played(arguments: argparse.Namespace, settings: Config) -> tuple[Result, ExcerptCutter | None]:
    plan = options.build_plan(arguments, settings)
    total = sum(_bytes(item) for item in open_all(plan) if isinstance(item, Item))
    with ProgressLine(total, sys.stderr) as remaining:
        result = Evaluation(
            plan=plan,
            recipe=lambda engine: build_recipe(engine, Path(settings.home)),
            workers=_workers(arguments),
            cache=Path(arguments.cache or Path(arguments.out) / "scores"),
            advance=lambda item: remaining.done(_bytes(item)),
        ).run()
    return result, ExcerptCutter(plan) if arguments.with_sound else None


def _workers(arguments: argparse.Namespace) -> Workers:
    if arguments.cluster is None:
        return Processes(arguments.jobs)
    from listener.evaluate.cluster import Cluster  # noqa: PLC0415 - for who asks for a cluster

    return Cluster(arguments.cluster)


def _claims_hold(result: Result) -> bool:
    return all(word.target is None or word.target.carried for word in result.words)


def _bytes(item: Item) -> int:
    try:
        return item.path.stat().st_size
    except (OSError, ValueError):  # it will be missing, and said so
        return 0
