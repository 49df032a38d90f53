"""The result of a tuning: a first stage of the words that it may be used for, and its card. Pure.

As for a trained word, no time is in the files, so that the same tuning gives the same bytes.
"""

import importlib.resources
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from listener.inference.catalogue import ADDED_FIRST_STAGE
from listener.quantities import quantity
from listener.train.tuning import WEIGHTS, pack_first_stage
from listener.train.tuning_plan import TuningRecipe
from listener.train.tuning_work import MeasuredLosses
from listener.wakeword.manifest import KnownWord, Manifest, Model

LEAST_WOKEN: Final = 20
"""Clips that must wake without a first stage for a loss to be judged."""
MOST_LOST: Final = 0.02
"""Part of the clips of the new word that wake and may be lost."""


@dataclass(frozen=True, slots=True)
class RefusedWord:
    """A word that the tuned first stage does not know, so that it runs without one."""

    outcome: MeasuredLosses
    reason: str


@dataclass(frozen=True, slots=True)
class TuningReport:
    """What is known of a tuned first stage."""

    recipe: TuningRecipe
    kept: tuple[MeasuredLosses, ...]
    """Words that it knows."""
    refused: tuple[RefusedWord, ...]

    @property
    def is_usable(self) -> bool:
        """Whether it knows the new word."""
        return any(outcome.word == self.recipe.new for outcome in self.kept)


def judge_outcomes(recipe: TuningRecipe, outcomes: Sequence[MeasuredLosses]) -> TuningReport:
    """Decide which words the tuned first stage may be used for.

    Args:
        recipe: the recipe.
        outcomes: what it loses of each word.
    """
    refused = []
    kept = []
    for outcome in outcomes:
        reason = _refuse(outcome)
        if reason is None:
            kept.append(outcome)
        else:
            refused.append(RefusedWord(outcome, reason))
    return TuningReport(recipe, tuple(kept), tuple(refused))


def make_first_stage(report: TuningReport, data: bytes) -> Model:
    """Return the tuned first stage.

    Args:
        report: which must be usable.
        data: the weights.
    """
    recipe = report.recipe
    figures: dict[str, Any] = {
        "reason": "woken and lost are synthetic clips that tuned nothing; a word is listed if no"
        " more are lost than with the first stage that was tuned",
        "real_people_measured": False,
        "tuning": {
            "start": recipe.start,
            "start_sha256": recipe.weights,
            "seed": recipe.training.seed,
            "recipe": recipe.digest(),
            "words": {each.word.name: _figures(each) for each in report.kept},
        },
    }
    words = {
        each.word.name: KnownWord(
            sha256=each.word.sha256,
            bound=each.bound,
            speech_share=each.speech_share,
            woken=sum(each.woken),
            lost=sum(each.lost),
            spoken=each.word.spoken,
        )
        for each in report.kept
    }
    text = recipe.training.phrase.text
    origin = f"earmark train {text!r} --first-stage, tuned from {recipe.start}, synthetic speech"
    return pack_first_stage(ADDED_FIRST_STAGE, {WEIGHTS: data}, words, origin, figures)


def tuning_text(report: TuningReport) -> str:
    """Return the report for people."""
    lines = [
        f"{'first stage':<18}  {'open in speech':>14}  {'lost in quiet':>15}  in rooms and noise"
    ]
    for each in report.kept:
        quiet, noisy = _losses(each)
        lines.append(f"  {each.word.name:<16}  {each.speech_share:>14.1%}  {quiet:>15}  {noisy}")
    lines += [f"  {each.outcome.word.name:<16}  not used: {each.reason}" for each in report.refused]
    lines += ["  synthetic clips that wake without it: optimistic for people"]
    return "\n".join(lines) + "\n"


def tuning_card(report: TuningReport) -> str:
    """Return the card of the tuned first stage, in Markdown."""
    recipe = report.recipe
    training, counts = recipe.training, recipe.counts
    rows = [
        "| word | open in speech | lost in quiet | lost in rooms and noise |",
        "|---|---|---|---|",
    ]
    rows += [
        f"| {each.word.name} | {each.speech_share:.1%} | {' | '.join(_losses(each))} |"
        for each in report.kept
    ]
    dropped = "; ".join(f"{each.outcome.word.name}: {each.reason}" for each in report.refused)
    template = string.Template(
        (importlib.resources.files("listener.train") / "first-stage-card.md").read_text("utf-8")
    )
    return template.substitute(
        name=ADDED_FIRST_STAGE,
        words_listed=", ".join(each.word.name for each in report.kept),
        phrase=training.phrase.text,
        effort=training.effort,
        seed=training.seed,
        start=recipe.start,
        batches=counts.batches,
        tuned_words=counts.words,
        tuned_known=counts.known * (len(recipe.words) - 1),
        sentences=counts.sentences,
        engines=", ".join(f"{each.name} {each.version}" for each in training.engines),
        table="\n".join(rows),
        most_lost=f"{MOST_LOST:.0%}",
        dropped=f"Not listed: {dropped}." if dropped else "",
    )


def tuning_json(report: TuningReport, manifest: Manifest) -> bytes:
    """Return the report as JSON: the recipe, and each word with what is lost of it."""
    recipe = report.recipe
    training = recipe.training
    shown = {
        "phrase": training.phrase.text,
        "spoken": training.phrase.spoken,
        "model": {
            "name": manifest.name,
            "sha256": manifest.sha256,
            "bytes": manifest.files[0].bytes,
        },
        "start": {"name": recipe.start, "sha256": recipe.weights},
        "seed": training.seed,
        "engines": [asdict(engine) for engine in training.engines],
        "clips": asdict(recipe.counts),
        "recipe_sha256": recipe.digest(),
        "words": [asdict(each) for each in report.kept],
        "not_used": [asdict(each) for each in report.refused],
        "real_people_measured": False,
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=1) + b"\n"


def _refuse(outcome: MeasuredLosses) -> str | None:
    """Return why a word may not be used with the first stage; None if it may."""
    woken, lost = sum(outcome.woken), sum(outcome.lost)
    if woken < LEAST_WOKEN:
        return f"only {quantity(woken, 'clip')} of it woke, too few to measure a loss"
    if outcome.lost_before is None:
        if lost > MOST_LOST * woken:
            return f"{lost} of {quantity(woken, 'clip')} lost"
    elif lost > sum(outcome.lost_before):
        return f"{lost} of {quantity(woken, 'clip')} lost, {sum(outcome.lost_before)} before"
    return None


def _losses(outcome: MeasuredLosses) -> tuple[str, str]:
    quiet, noisy = (
        f"{lost} of {woken}" for lost, woken in zip(outcome.lost, outcome.woken, strict=True)
    )
    return quiet, noisy


def _figures(outcome: MeasuredLosses) -> dict[str, int]:
    return {
        "woken_quiet": outcome.woken[0],
        "lost_quiet": outcome.lost[0],
        "woken_noise": outcome.woken[1],
        "lost_noise": outcome.lost[1],
    }
