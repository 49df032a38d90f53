"""The result of a training: model, manifest, card and report. Pure.

All files follow from the recipe and the measurements, without times, so that the same training
gives the same bytes.
"""

import importlib.resources
import math
import string
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec
import numpy as np
import tomli_w

from listener import digests
from listener.evaluate.metrics.intervals import Rate, hours_needed, wilson
from listener.quantities import quantity
from listener.train.features import WINDOW_FRAMES
from listener.train.graph import export
from listener.train.heads import AVERAGED
from listener.train.plan import Recipe
from listener.train.thresholds import (
    ALLOWED,
    PATIENCE_FRAMES,
    count_false_wakes,
    hours,
    lowest_threshold,
    measure_false_wakes,
    measure_misses,
)
from listener.train.training import HEAD_WIDTH, Trained
from listener.wakeword.embedding import FEATURES
from listener.wakeword.manifest import File, Manifest, to_toml

MODEL: Final = "model.onnx"
CARD: Final = "card.md"
REPORT: Final = "report.json"
THRESHOLD: Final = 0.5
"""Threshold of every trained model: the last bias is shifted, so that other programs, whose default
this is, wake at the same point."""
NEAR_SHOWN: Final = 10
"""Phrases that sound like the word, in card and report text."""


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """A row of the table of thresholds."""

    threshold: float
    """Score, 0 to 1."""
    false_wakes: Rate
    quiet: Rate
    rooms: Rate


@dataclass(frozen=True, slots=True)
class NearPhrase:
    """A phrase that sounds like the word."""

    phrase: str
    highest: float
    """Highest score, 0 to 1."""
    woke: int
    """Clips at or above the threshold."""
    clips: int


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What is known of a trained word."""

    recipe: Recipe
    points: tuple[ThresholdRow, ...]
    """By rising number of false wakes; the first is that of the manifest."""
    near: tuple[NearPhrase, ...]
    """Highest first."""
    takes: tuple[float, ...]
    """Scores of the person's own recordings."""
    hours_trained: float
    """Real recordings without the word that trained the heads."""
    hours_threshold: float
    """Real recordings that fixed the threshold."""
    sources: tuple[tuple[str, int, float], ...]
    """Of these, each with its false wakes at the manifest's threshold, and its hours."""


def finish(
    recipe: Recipe, trained: Trained, per_hour: float, refractory_samples: int
) -> tuple[TrainingReport, bytes]:
    """Fix the threshold; return the report and the ONNX file.

    Args:
        recipe: the recipe.
        trained: ensemble and scores.
        per_hour: false wakes per hour that are accepted in the half that fixes the threshold.
        refractory_samples: time after a wake without another wake.
    """
    tracks = trained.tracks
    least = math.floor(per_hour * hours(tracks) + 1e-9)
    allowed = (least, *(count for count in ALLOWED if count > least))
    logits = [lowest_threshold(tracks, count, refractory_samples) for count in allowed]
    chosen = logits[0]
    # The heads of the test have a scale of their own.
    tested = [lowest_threshold(trained.test_tracks, count, refractory_samples) for count in allowed]
    report = TrainingReport(
        recipe,
        tuple(
            ThresholdRow(
                _score(logit - chosen),
                measure_false_wakes(tracks, logit, refractory_samples),
                measure_misses(trained.quiet, test_logit),
                measure_misses(trained.rooms, test_logit),
            )
            for logit, test_logit in zip(logits, tested, strict=True)
        ),
        tuple(
            NearPhrase(
                each.phrase,
                _score(max(each.logits) - tested[0]),
                sum(logit >= tested[0] for logit in each.logits),
                len(each.logits),
            )
            for each in trained.near
        ),
        tuple(_score(logit - chosen) for logit in trained.takes),
        trained.hours_trained,
        hours(tracks),
        tuple(
            (
                track.source,
                count_false_wakes([track], chosen, refractory_samples),
                round(track.seconds / 3600, 4),
            )
            for track in tracks
        ),
    )
    return report, export(trained.ensemble, -chosen, recipe.phrase.name)


def make_origin(recipe: Recipe) -> str:
    """Return the origin in the manifest of a trained word."""
    return f"earmark train {recipe.phrase.text!r}, synthetic speech"


def make_manifest(report: TrainingReport, data: bytes, name: str, licence: str) -> Manifest:
    """Return the manifest of the model."""
    point = report.points[0]
    figures: dict[str, Any] = {
        "reason": "threshold for the accepted false wakes in the half of the negatives that"
        " trained nothing; on the same recordings this rate is optimistic",
        "real_people_measured": len(report.takes) > 0,
        "training": {
            "threshold": THRESHOLD,
            "hours": round(report.hours_threshold, 4),
            **_rate_figures("false_wakes", point.false_wakes),
            **_rate_figures("misses_engine_left_out", point.quiet),
            **_rate_figures("misses_engine_left_out_in_noise", point.rooms),
            "seed": report.recipe.seed,
            "recipe": report.recipe.digest(),
        },
    }
    return Manifest(
        name=name,
        kind="wake-word",
        origin=make_origin(report.recipe),
        licence=licence,
        input_shape=(1, WINDOW_FRAMES, FEATURES),
        window_frames=WINDOW_FRAMES,
        threshold=THRESHOLD,
        patience_frames=PATIENCE_FRAMES,
        files=(File(path=MODEL, sha256=digests.sha256(data).hex(), bytes=len(data)),),
        figures=figures,
    )


def manifest_text(manifest: Manifest) -> str:
    """Return the text of a manifest with its figures."""
    return to_toml(manifest) + "\n" + tomli_w.dumps({"figures": manifest.figures})


def report_json(report: TrainingReport, manifest: Manifest) -> bytes:
    """Return the report as JSON: all of the recipe, thresholds, phrases and takes."""
    recipe = report.recipe
    shown = {
        "phrase": recipe.phrase.text,
        "spoken": recipe.phrase.spoken,
        "model": {
            "name": manifest.name,
            "sha256": manifest.sha256,
            "bytes": manifest.files[0].bytes,
        },
        "threshold": THRESHOLD,
        "patience_frames": PATIENCE_FRAMES,
        "seed": recipe.seed,
        "voices": recipe.effort,
        "engines": [asdict(engine) for engine in recipe.engines],
        "engine_left_out": asdict(recipe.left_out) if recipe.left_out else None,
        "clips": asdict(recipe.counts),
        "near_phrases_trained": list(recipe.near),
        "recipe_sha256": recipe.digest(),
        "negatives": {
            "sha256": recipe.negatives,
            "hours_trained": round(report.hours_trained, 4),
            "hours_threshold": round(report.hours_threshold, 4),
            "false_wakes_by_source": [
                {"source": source, "false_wakes": woken, "hours": length}
                for source, woken, length in report.sources
            ],
        },
        "points": [
            {
                "threshold": point.threshold,
                "false_wakes": _rate_json(point.false_wakes),
                "misses_engine_left_out": _rate_json(point.quiet),
                "misses_engine_left_out_in_noise": _rate_json(point.rooms),
            }
            for point in report.points
        ],
        "near": [asdict(each) for each in report.near],
        "takes": list(report.takes),
        "real_people_measured": len(report.takes) > 0,
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=1) + b"\n"


def report_text(report: TrainingReport, name: str) -> str:
    """Return the report for people."""
    point, recipe = report.points[0], report.recipe
    left_out = recipe.left_out
    lines = [
        f"{name}: threshold {THRESHOLD:g}, {PATIENCE_FRAMES} frames in a row",
        f"false wakes   {_per_hour(point.false_wakes)} in {report.hours_threshold:.2f} h of real",
        "              recordings that trained nothing; they fixed the threshold: optimistic",
    ]
    if left_out is None:
        lines.append("misses        not measured: there is only one voice engine")
    else:
        lines += [
            f"misses        {_share(point.quiet)} of {left_out.name}, by heads trained without it",
            f"              {_share(point.rooms)} in rooms and noise of 0 to 30 dB",
            "              synthetic speech: optimistic for people",
        ]
    if report.takes:
        missed = sum(score < THRESHOLD for score in report.takes)
        lines.append(
            f"your takes    {_share(wilson(missed, len(report.takes)))}; the same person and day"
        )
    else:
        lines.append("your takes    none: no real person was measured; record some: --record 10")
    lines += ["", "threshold  false wakes per hour (95 %)  missed   missed in noise"]
    lines += [
        f"{each.threshold:<9.4f}  {_per_hour(each.false_wakes):<27}  {_percent(each.quiet):<7}"
        f"  {_percent(each.rooms)}"
        for each in report.points
    ]
    if report.near:
        lines += ["", f"phrases that score highest, by {left_out.name if left_out else '-'}:"]
        lines += [
            f"  {each.phrase:<24} highest {each.highest:.2f}, woke {each.woke} of {each.clips}"
            for each in report.near[:NEAR_SHOWN]
        ]
    needed = hours_needed(point.false_wakes.count, 0.5)
    lines += [
        "",
        f"the claim of fewer than 0.5 false wakes per hour needs {needed:.0f} h without one more:",
        "earmark survey measures them at home",
    ]
    return "\n".join(lines) + "\n"


def card_text(report: TrainingReport, data: bytes, name: str, licence: str) -> str:
    """Return the card of the model, in Markdown."""
    recipe, point = report.recipe, report.points[0]
    engines = ", ".join(f"{each.name} {each.version} ({each.licence})" for each in recipe.engines)
    left_out = recipe.left_out
    people = (
        f"One person's {quantity(len(report.takes), 'recording')} were scored:"
        f" {sum(score < THRESHOLD for score in report.takes)} missed."
        if report.takes
        else "**No real person was measured.** All speech of the word is synthetic."
    )
    tested = (
        "Misses were not measured: there was only one voice engine."
        if left_out is None
        else f"Misses on {left_out.name} {left_out.version} by heads that were trained without it:"
        f" {_share(point.quiet)} in a quiet room, {_share(point.rooms)} in rooms and noise of 0 to"
        " 30 dB. Synthetic speech is easier than people: these figures are optimistic."
    )
    near = "\n".join(
        f"- “{each.phrase}”: highest score {each.highest:.2f}, woke {each.woke} of {each.clips}"
        for each in report.near[:NEAR_SHOWN]
    )
    template = string.Template(
        (importlib.resources.files("listener.train") / "card.md").read_text("utf-8")
    )
    return template.substitute(
        name=name,
        phrase=recipe.phrase.text,
        window=WINDOW_FRAMES,
        features=FEATURES,
        heads=AVERAGED,
        candidates=recipe.counts.candidates,
        width=HEAD_WIDTH,
        kilobytes=len(data) // 1000,
        effort=recipe.effort,
        seed=recipe.seed,
        words=recipe.counts.words,
        copies=recipe.counts.copies,
        engines=engines,
        near_clips=recipe.counts.near,
        sentences=recipe.counts.sentences,
        hours_trained=f"{report.hours_trained:.2f}",
        licence=licence,
        people=people,
        threshold=f"{THRESHOLD:g}",
        patience=PATIENCE_FRAMES,
        woken=quantity(round(point.false_wakes.count), "false wake"),
        hours_threshold=f"{report.hours_threshold:.2f}",
        rate=_per_hour(point.false_wakes),
        tested=tested,
        near=near or "- none were tested",
    )


def _score(logit: float) -> float:
    """Return the probability of a logit, rounded as in a configuration."""
    return round(float(1 / (1 + np.exp(-np.clip(logit, -30, 30)))), 6)


def _rate_json(rate: Rate) -> dict[str, float | None]:
    return {
        "count": rate.count,
        "of": round(rate.exposure, 4),
        "value": _rounded(rate.value),
        "low": _rounded(rate.low),
        "high": _rounded(rate.high),
    }


def _rate_figures(name: str, rate: Rate) -> dict[str, float]:
    """Return the figures of a rate for a manifest; TOML has no null."""
    if rate.value is None:
        return {}
    return {
        name: rate.count,
        f"{name}_of": round(rate.exposure, 4),
        f"{name}_low": _rounded(rate.low) or 0.0,
        f"{name}_high": _rounded(rate.high) or 0.0,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _per_hour(rate: Rate) -> str:
    return f"{rate.value or 0:.1f} per hour ({rate.low or 0:.1f} to {rate.high or 0:.1f})"


def _share(rate: Rate) -> str:
    if rate.value is None:
        return "not measured"
    return (
        f"{rate.count:.0f} of {rate.exposure:.0f} missed: {100 * rate.value:.1f} %"
        f" ({100 * (rate.low or 0):.1f} to {100 * (rate.high or 0):.1f})"
    )


def _percent(rate: Rate) -> str:
    return "-" if rate.value is None else f"{100 * rate.value:.1f} %"
