"""The result of a training of a student head: a first stage with the word, and its card. Pure.

As for a trained word, no time is in the files, so that the same training gives the same bytes.
"""

import importlib.resources
import string
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from listener.errors import ModelRefused
from listener.inference.catalogue import ADDED_FIRST_STAGE
from listener.quantities import quantity
from listener.train.bounds import pack_first_stage
from listener.train.student_head_plan import StudentHeadRecipe
from listener.train.student_head_work import MeasuredLosses
from listener.wakeword.manifest import MOST_FILES, Manifest, Model

LEAST_WOKEN: Final = 20
"""Clips that must wake without a first stage for a loss to be judged."""
MOST_LOST: Final = 0.02
"""Part of the clips of the word that wake and may be lost."""
_FIGURES: Final = "student_heads"


@dataclass(frozen=True, slots=True)
class StudentHeadReport:
    """What is known of a student head."""

    recipe: StudentHeadRecipe
    outcome: MeasuredLosses
    reason: str | None
    """Why the word runs without a first stage; None if it is used."""


def judge_losses(recipe: StudentHeadRecipe, outcome: MeasuredLosses) -> StudentHeadReport:
    """Decide whether the word may be used with the first stage.

    Args:
        recipe: the recipe.
        outcome: what is lost of the word.
    """
    woken, lost = outcome.entry.woken, outcome.entry.lost
    reason = None
    if woken < LEAST_WOKEN:
        reason = f"only {quantity(woken, 'clip')} of it woke, too few to measure a loss"
    elif lost > MOST_LOST * woken:
        reason = f"{lost} of {quantity(woken, 'clip')} lost"
    return StudentHeadReport(recipe, outcome, reason)


def extend_first_stage(
    report: StudentHeadReport,
    head: bytes,
    shipped: Model,
    added: Model | None,
    present: Collection[str],
) -> Model:
    """Return a first stage of the shipped words, of those added before, and of the new one.

    Args:
        report: of the new word, which may be used.
        head: file of its student head.
        shipped: the shipped first stage, whose student it has.
        added: the one that is replaced, if there is one; words of another student are left out.
        present: names of the models; words that are not among them are left out.

    Raises:
        ModelRefused: it would have too many files.
    """
    recipe, entry = report.recipe, report.outcome.entry
    words = dict(shipped.manifest.words)
    contents = dict(
        zip((file.path for file in shipped.manifest.files), shipped.contents, strict=True)
    )
    figures = {recipe.name: _figures(report)}
    if added is not None:
        paths = [file.path for file in added.manifest.files]
        before: Any = added.manifest.figures.get(_FIGURES, {})
        for name in find_kept(shipped, added, present):
            words[name] = kept = added.manifest.words[name]
            if kept.head is not None and name != recipe.name:
                contents[kept.head] = added.contents[paths.index(kept.head)]
            if isinstance(before, dict) and name in before:
                figures.setdefault(name, before[name])
    words[recipe.name] = entry
    contents[str(entry.head)] = head
    if len(contents) > MOST_FILES:
        raise ModelRefused(
            f"{ADDED_FIRST_STAGE} has {quantity(len(words) - 1, 'word')}, and no place for more",
            "remove the folders of models that you do not use; then run the command again",
        )
    text = recipe.training.phrase.text
    origin = f"earmark train {text!r} --first-stage, with the student of {shipped.name}"
    return pack_first_stage(
        ADDED_FIRST_STAGE,
        contents,
        words,
        origin,
        {
            "reason": "student heads were trained and measured by synthetic clips",
            "real_people_measured": False,
            _FIGURES: figures,
        },
    )


def find_kept(shipped: Model, added: Model | None, present: Collection[str]) -> list[str]:
    """Return the words of an added first stage that can be used with the shipped student.

    Args:
        shipped: the shipped first stage.
        added: the added one, if there is one.
        present: names of the models.
    """
    if added is None or added.manifest.sha256 != shipped.manifest.sha256:
        return []
    own = (name for name in added.manifest.words if name not in shipped.manifest.words)
    return [name for name in own if name in present]


def losses_text(report: StudentHeadReport) -> str:
    """Return the report for people."""
    quiet, noisy = _losses(report.outcome)
    share = report.outcome.entry.speech_share
    lines = [
        f"{'first stage':<18}  {'open in speech':>14}  {'lost in quiet':>15}  in rooms and noise",
        f"  {report.recipe.name:<16}  {share:>14.1%}  {quiet:>15}  {noisy}",
    ]
    if report.reason is not None:
        lines.append(f"  {report.recipe.name:<16}  not used: {report.reason}")
    lines += ["  synthetic clips that wake without it: optimistic for people"]
    return "\n".join(lines) + "\n"


def first_stage_card(report: StudentHeadReport, stage: Model, shipped: Model) -> str:
    """Return the card of a first stage with added words, in Markdown."""
    recipe = report.recipe
    training, counts = recipe.training, recipe.counts
    added = {n: w for n, w in stage.manifest.words.items() if n not in shipped.manifest.words}
    rows = ["| word | open in speech | clips that woke | lost |", "|---|---|---|---|"]
    rows += [
        f"| {name} | {word.speech_share:.1%} | {word.woken} | {word.lost} |"
        for name, word in sorted(added.items())
    ]
    template = string.Template(
        (importlib.resources.files("listener.train") / "first-stage-card.md").read_text("utf-8")
    )
    return template.substitute(
        name=ADDED_FIRST_STAGE,
        words_added=", ".join(sorted(added)),
        phrase=training.phrase.text,
        effort=training.effort,
        seed=training.seed,
        shipped=shipped.name,
        batches=counts.batches,
        clips=counts.words,
        near=counts.near,
        sentences=counts.sentences,
        engines=", ".join(f"{each.name} {each.version}" for each in training.engines),
        table="\n".join(rows),
        most_lost=f"{MOST_LOST:.0%}",
    )


def losses_json(report: StudentHeadReport, manifest: Manifest) -> bytes:
    """Return the report as JSON: the recipe, and what is lost of the word."""
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
        "seed": training.seed,
        "engines": [asdict(engine) for engine in training.engines],
        "clips": asdict(recipe.counts),
        "recipe_sha256": recipe.digest(),
        "word": {
            "name": recipe.name,
            "speech_share": report.outcome.entry.speech_share,
            "woken": report.outcome.woken,
            "lost": report.outcome.lost,
        },
        "words": sorted(manifest.words),
        "real_people_measured": False,
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=1) + b"\n"


def _losses(outcome: MeasuredLosses) -> tuple[str, str]:
    quiet, noisy = (
        f"{lost} of {woken}" for lost, woken in zip(outcome.lost, outcome.woken, strict=True)
    )
    return quiet, noisy


def _figures(report: StudentHeadReport) -> dict[str, Any]:
    outcome = report.outcome
    return {
        "seed": report.recipe.training.seed,
        "recipe": report.recipe.digest(),
        "woken_quiet": outcome.woken[0],
        "lost_quiet": outcome.lost[0],
        "woken_noise": outcome.woken[1],
        "lost_noise": outcome.lost[1],
    }
