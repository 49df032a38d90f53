"""``earmark train``: trains a wake word from a typed phrase, with synthetic speech."""

import argparse
import dataclasses
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.cli.main import with_examples
from listener.cli.models import UNSTATED
from listener.config import Config, ShortName
from listener.errors import ModelRefused, Unavailable, UsageError
from listener.evaluate.progress import ProgressLine
from listener.inference.add_model import add_model
from listener.inference.catalogue import ADDED_FIRST_STAGE, FIRST_STAGE, MANIFEST, Catalogue
from listener.quantities import quantity
from listener.train.audition import play_samples, speak_samples
from listener.train.negatives import Negatives, load_negatives
from listener.train.phrase import parse_phrase
from listener.train.plan import COUNTS, Recipe
from listener.train.recipe import TrainingRequest, build_recipe, build_student_head_recipe
from listener.train.report import (
    CARD,
    REPORT,
    TrainingReport,
    card_text,
    finish,
    make_manifest,
    make_origin,
    manifest_text,
    report_json,
    report_text,
)
from listener.train.student_head_report import (
    extend_first_stage,
    find_kept,
    first_stage_card,
    judge_losses,
    losses_json,
    losses_text,
)
from listener.train.student_head_work import MeasuredLosses, StudentHeadTraining
from listener.train.takes import record_takes
from listener.train.training import Trained, Training, score_takes
from listener.train.voices.registry import open_engine
from listener.train.work_folder import WorkFolder
from listener.wakeword.manifest import Line, Model, parse_manifest

SEED: Final = 1
WORK: Final = "training"
"""Folder of the data directory with trainings that have not ended."""
MOST_TAKES: Final = 100
_CONTINUE: Final = "run the same command again to continue"
DETAILS: Final = """\
Voices of this machine speak the phrase, phrases that sound like it, and sentences; simulated rooms
and noise are added; 18 heads are trained against these and real recordings. Half of the real
recordings train nothing: they choose three of the heads, which are joined in one model in
openWakeWord format, and fix its threshold. Six more heads are trained without one voice engine;
three of them are chosen in the same way and tested on it: the report has their misses. A training
that was ended continues when the same command is run again.

--first-stage also adds the word to the first stage, with which a device computes most steps of
speech by a small network (wake.first_stage, off by default; a word that the first stage does not
know runs without it). A small head is trained on clips of the phrase, of phrases that sound like it
and of sentences, and on real recordings. Other clips are played with and without it: if more than
2 % of those that wake are lost, it is not written. These clips are synthetic: a person's word may
be lost more often. The first stage is written as first-stage-added beside the model; it knows the
included words, those that were added before, and the new one. A word that was trained before by the
same command is not trained again."""
EXAMPLES: Final = (
    'earmark train "hey lantern"',
    'earmark train "hey lantern" --say "hey lan turn" --record 10',
    'earmark train "hey lantern" --voices best --to models-of-mine',
    'earmark train "hey lantern" --first-stage',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``earmark train``."""
    parser.epilog = with_examples(DETAILS, *EXAMPLES)
    parser.add_argument("phrase", metavar="PHRASE", help="the wake word, in English letters")
    parser.add_argument(
        "--say", metavar="TEXT", help="spelling that the voices are given (default: the phrase)"
    )
    parser.add_argument(
        "--voices",
        choices=tuple(COUNTS),
        default="fast",
        help=f"fast: {COUNTS['fast'].words} clips of the phrase; best: {COUNTS['best'].words};"
        " by all voices of earmark voices list (default: fast)",
    )
    parser.add_argument(
        "--first-stage",
        action="store_true",
        help="also add the word to the first stage: in speech a device with wake.first_stage then"
        " takes less CPU, and may lose a wake; takes some minutes more",
    )
    parser.add_argument(
        "--record",
        type=int,
        default=0,
        metavar="N",
        help="record you N times at the end; the recordings test the model and are not stored",
    )
    parser.add_argument(
        "--name",
        help="name of the wake word: 1 to 32 of a-z, 0-9, hyphen (default: from the phrase)",
    )
    parser.add_argument(
        "--false-wakes",
        type=float,
        default=0.0,
        metavar="X",
        help="false wakes per hour that are accepted in the recordings that fix the threshold"
        " (default: 0)",
    )
    parser.add_argument(
        "--licence", default=UNSTATED, help="SPDX identifier of the model (default: %(default)s)"
    )
    parser.add_argument(
        "--to", metavar="DIR", help="folder for the model's folder (default: models of --home)"
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, metavar="N", help=f"random seed (default: {SEED})"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="processes (default: one for each core)",
    )
    parser.add_argument("--silent", action="store_true", help="do not play the three samples first")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Train a word, write its model folder and print the report.

    Raises:
        UsageError: an option is not valid.
        Unavailable: no voice engine is installed, or a file cannot be written.
        ModelRefused: the name is in use.
        ConfigError: the negatives or the dictionary are missing.
    """
    _check_options(arguments)
    phrase = parse_phrase(arguments.phrase, arguments.say)
    home = Path(settings.home)
    catalogue = Catalogue(home, Path(arguments.to) if arguments.to else None)
    name = _choose_name(arguments.name, phrase.name, catalogue)
    jobs = arguments.jobs or os.cpu_count() or 1
    negatives = load_negatives()
    request = TrainingRequest(phrase, arguments.voices, arguments.seed)
    recipe, notes = build_recipe(request, negatives, home)
    is_known = arguments.first_stage and _was_trained_before(catalogue, name, recipe)
    is_trained = is_known or _is_trained(catalogue, name, recipe)
    if is_trained and not arguments.first_stage:
        print(f"{name} was trained by this recipe before; nothing changed")
        return 0
    for note in notes:
        _note(note)
    work = _Work(arguments, settings, catalogue, name, recipe, jobs)
    if not is_trained and not _add_word(work, negatives):
        return 1
    return 0 if not arguments.first_stage or _add_first_stage(work, negatives) else 1


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be made, and where."""

    arguments: argparse.Namespace
    settings: Config
    catalogue: Catalogue
    name: str
    recipe: Recipe
    jobs: int

    @property
    def home(self) -> Path:
        """Data directory."""
        return Path(self.settings.home)


def _add_word(work: _Work, negatives: Negatives) -> bool:
    """Train the word, write its model folder and print the report; return False if not wanted."""
    arguments, settings, recipe = work.arguments, work.settings, work.recipe
    folder = WorkFolder(work.home / WORK, work.name, recipe.digest())
    with folder.opened():
        if not arguments.silent and not _is_pronounced(recipe, settings, folder.path):
            print("nothing was trained; spell the phrase as it sounds: --say TEXT")
            return False
        trained = _train(Training(recipe, negatives, work.home, folder, work.jobs), recipe)
        if arguments.record:
            takes = record_takes(arguments.record, recipe.phrase.text, settings, _note)
            logits = score_takes(trained.ensemble, takes, work.home)
            trained = dataclasses.replace(trained, takes=logits)
        refractory_samples = round(settings.wake.refractory_s * SAMPLE_RATE_HZ)
        report, data = finish(recipe, trained, arguments.false_wakes, refractory_samples)
        place = _write(work.catalogue, report, data, work.name, arguments.licence)
        _print_report(report, work.name, place, as_json=arguments.json)
        folder.remove()
    return True


def _add_first_stage(work: _Work, negatives: Negatives) -> bool:
    """Add the word to the first stage; return False if that loses too many of its clips."""
    catalogue, name = work.catalogue, work.name
    shipped = catalogue.load(FIRST_STAGE)
    added = _load_added(catalogue)
    place = catalogue.added / ADDED_FIRST_STAGE
    if (
        added is not None
        and added.manifest.sha256 == shipped.manifest.sha256
        and added.manifest.knows(catalogue.load(name))
    ):
        _note(f"{place} knows {name} already; nothing changed")
        return True
    kept = find_kept(shipped, added, catalogue.names())
    for word in added.manifest.words if added is not None else ():
        if word != name and word not in kept and word not in shipped.manifest.words:
            _note(f"{ADDED_FIRST_STAGE} will not know {word}: train it again with --first-stage")
    recipe = build_student_head_recipe(name, work.recipe, catalogue)
    folder = WorkFolder(work.home / WORK, f"first-stage-{name}", recipe.digest())
    with folder.opened():
        training = StudentHeadTraining(recipe, negatives, catalogue, folder, work.jobs)
        report = judge_losses(recipe, _train_student_head(training, name))
        if not work.arguments.json:
            sys.stdout.write(f"\n{losses_text(report)}")
        if report.reason is None:
            head = training.head()
            stage = extend_first_stage(report, head, shipped, added, catalogue.names())
            paths = [file.path for file in stage.manifest.files]
            beside = {
                **dict(zip(paths[1:], stage.contents[1:], strict=True)),
                MANIFEST: manifest_text(stage.manifest).encode(),
                CARD: first_stage_card(report, stage, shipped).encode(),
                REPORT: losses_json(report, stage.manifest),
            }
            add_model(catalogue, stage.manifest, stage.data, beside, replaces=True)
            if work.arguments.json:
                sys.stdout.write((place / REPORT).read_text("utf-8"))
            else:
                sys.stdout.write(f"written to {place}; use it: wake.first_stage = true\n")
        else:
            _note(f"the first stage was not changed: {name} runs without one")
        folder.remove()
    return report.reason is None


def _load_added(catalogue: Catalogue) -> Model | None:
    """Load the first stage with added words; None if there is none.

    Raises:
        ModelRefused: it has changed, or is a model of another kind.
    """
    if ADDED_FIRST_STAGE not in catalogue.names():
        return None
    added = catalogue.load(ADDED_FIRST_STAGE)
    if added.manifest.kind != "first-stage":
        raise ModelRefused(
            f"{added.name} is a model of the kind {added.manifest.kind}, not a first stage",
            f"remove {catalogue.added / added.name}",
        )
    return added


def _train_student_head(training: StudentHeadTraining, name: str) -> MeasuredLosses:
    """Make what is missing of a student head, with progress and the time left."""
    pending = training.find_pending()
    if pending.made:
        _note(f"continues: {quantity(pending.made, 'part')} of this training were made before")
    _note(f"trains a student head for {name}")
    try:
        with ProgressLine(pending.estimated_s, sys.stderr) as progress:
            return training.run(pending, progress)
    except KeyboardInterrupt:
        _note(_CONTINUE)
        raise


def _is_pronounced(recipe: Recipe, settings: Config, folder: Path) -> bool:
    """Play three samples, or write them where there is no loudspeaker; return the answer."""
    phrase = recipe.phrase
    engines = [open_engine(engine.name, Path(settings.home)) for engine in recipe.engines]
    samples = speak_samples(phrase, engines, recipe.seed)
    _note(f"{len(samples)} samples of “{phrase.spoken}”")
    try:
        play_samples(samples, settings.player, lambda each: _note(f"  {each.engine}, {each.voice}"))
    except Unavailable as error:
        for number, sample in enumerate(samples, 1):
            soundfile.write(
                folder / f"sample-{number}.wav", sample.samples, SAMPLE_RATE_HZ, subtype="PCM_16"
            )
        _note(f"{error}; until the training ends, they are in {folder}")
        return True
    if not sys.stdin.isatty():
        return True
    sys.stderr.write("earmark: train with this pronunciation? [Y/n] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"", "y", "yes"}


def _train(training: Training, recipe: Recipe) -> Trained:
    """Make what is missing, with progress and the time left; return what was measured."""
    pending = training.find_pending()
    if pending.made:
        _note(f"continues: {quantity(pending.made, 'part')} of this training were made before")
    engines = ", ".join(engine.name for engine in recipe.engines)
    _note(f"{quantity(recipe.counts.words, 'clip')} of “{recipe.phrase.spoken}” by {engines}")
    try:
        with ProgressLine(pending.estimated_s, sys.stderr) as progress:
            made = training.make_batches(pending, progress)
            ensembles = training.train(made, progress)
    except KeyboardInterrupt:
        _note(_CONTINUE)
        raise
    return training.measure(ensembles, made)


def _check_options(arguments: argparse.Namespace) -> None:
    for option, value, low, high in (
        ("--record", arguments.record, 0, MOST_TAKES),
        ("--jobs", arguments.jobs, 0, 1024),
        ("--seed", arguments.seed, 0, 2**32),
        ("--false-wakes", arguments.false_wakes, 0, 100),
    ):
        if not (math.isfinite(value) and low <= value <= high):
            raise UsageError(f"{option} {value} is out of range", f"use {low} to {high}")
    try:
        msgspec.convert(arguments.licence, Line)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"--licence {arguments.licence!r} is not valid", "use an SPDX identifier"
        ) from error


def _choose_name(named: str | None, default: str, catalogue: Catalogue) -> str:
    """Return the name of the model; never that of a shipped one."""
    if named is None:
        name = default[:32].strip("-")
        return f"my-{name}"[:32].strip("-") if _is_reserved(catalogue, name) else name
    try:
        name = msgspec.convert(named, ShortName)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"--name {named!r} is not valid", "use 1 to 32 of a-z, 0-9 and hyphen"
        ) from error
    if _is_reserved(catalogue, name):
        raise UsageError(
            f"{name} is the name of an included model", f"choose another: --name my-{name}"[:60]
        )
    return name


def _is_reserved(catalogue: Catalogue, name: str) -> bool:
    return catalogue.is_shipped(name) or name == ADDED_FIRST_STAGE


def _is_trained(catalogue: Catalogue, name: str, recipe: Recipe) -> bool:
    """Return whether the model is there already.

    Raises:
        ModelRefused: another model has the name.
    """
    if name not in catalogue.names():
        return False
    figures: Any = catalogue.manifest(name).figures.get("training", {})
    if isinstance(figures, dict) and figures.get("recipe") == recipe.digest():
        return True
    raise ModelRefused(
        f"another model is named {name}",
        f"choose another name: --name NAME; or remove {catalogue.added / name}",
    )


def _was_trained_before(catalogue: Catalogue, name: str, recipe: Recipe) -> bool:
    """Return whether the phrase was trained with this seed, even by another version of Earmark.

    A student head needs the model as it is, and no more of its recipe than the phrase.
    """
    if name not in catalogue.names():
        return False
    manifest = catalogue.manifest(name)
    figures: Any = manifest.figures.get("training", {})
    return (
        manifest.origin == make_origin(recipe)
        and isinstance(figures, dict)
        and figures.get("seed") == recipe.seed
    )


def _write(
    catalogue: Catalogue, report: TrainingReport, data: bytes, name: str, licence: str
) -> Path:
    """Write the model's folder; return it."""
    proposed = make_manifest(report, data, name, licence)
    text = manifest_text(proposed)
    manifest = parse_manifest(text, "the new manifest")
    beside = {
        MANIFEST: text.encode(),
        CARD: card_text(report, data, name, licence).encode(),
        REPORT: report_json(report, manifest),
    }
    add_model(catalogue, manifest, data, beside)
    return catalogue.added / name


def _print_report(report: TrainingReport, name: str, place: Path, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write((place / REPORT).read_text("utf-8"))
        return
    sys.stdout.write(report_text(report, name))
    sys.stdout.write(f'\nwritten to {place}; use it: wake.words = ["{name}"]\n')


def _note(text: str) -> None:
    print(f"earmark: {text}", file=sys.stderr)
