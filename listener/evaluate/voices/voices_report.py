"""Report of an evaluation of attribution by voice: text, JSON lines, tables, page and figures."""

import importlib.resources
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.metrics.intervals import CONFIDENCE, FEWEST_GROUPS, Rate
from listener.evaluate.report.html import fill_template, mark_chart
from listener.evaluate.report.tables import Table, rate_cells, rate_head, write_folder
from listener.evaluate.report.text import format_rate, format_rate_html
from listener.evaluate.voices.second_voice import CLIP_SAMPLES, OTHER_SAMPLES
from listener.evaluate.voices.voices_figures import draw_directions
from listener.evaluate.voices.voices_result import JudgedDirection, VoicesResult
from listener.quantities import quantity

TITLE: Final = "Attribution by voice"


def define_terms() -> Mapping[str, str]:
    """Return the definitions of the terms and of the intervals."""
    level = f"{CONFIDENCE:.0%}"
    return {
        "trial": "a piece of one speaker's speech without silence, which enrolled no voice",
        "equal error rate": "mean of the share of owners refused and of strangers accepted where"
        " they differ least, over one threshold for all voices",
        "owners refused": "trials whose similarity to their own voice is below its threshold",
        "strangers accepted": "comparisons of a trial with another speaker's voice at or above its"
        " threshold",
        "threshold": "of each owner: the highest of the least threshold, the similarity of their"
        " recordings to each other less the allowed drop, and the similarity of the nearest voice"
        " of the cohort or of the household; least threshold, drop and cohort are of the other"
        " group",
        "household": "owners who are enrolled together, and the other speakers of the group as"
        " guests; each trial counts once, with the mean of its outcomes in all households drawn",
        "wrong owner": "trials of owners that another owner got",
        "guests accepted": "trials of guests that an owner got",
        "second voice": f"{CLIP_SAMPLES / SAMPLE_RATE_HZ:g} s of speech; in the last"
        f" {OTHER_SAMPLES / SAMPLE_RATE_HZ:g} s another speaker speaks at the same level, after the"
        " owner or over them",
        "intervals": f"{level}; bootstrap over speakers, for an equal error rate over pairs of"
        f" them; without an event, or with fewer than {FEWEST_GROUPS} speakers, Wilson's over"
        " trials, which counts trials of one speaker as independent and is too narrow",
    }


def list_lines(result: VoicesResult) -> Iterator[str]:
    """Yield the lines of the result as text."""
    for group in result.groups:
        low, high = group.recordings
        takes = quantity(low, "recording") if low == high else f"{low} to {high} recordings"
        yield (
            f"{group.name}: {quantity(group.speakers, 'speaker')} enrolled with {takes},"
            f" {group.guests} as guests only, {group.speech_s / 60:.1f} min of speech;"
            f" {group.left_out} left out with less"
        )
    for direction in result.directions:
        yield from _direction(direction)
    if result.commands is not None:
        no_clip = result.commands.no_clip
        yield (
            f"short commands: {no_clip.count:g} of {no_clip.exposure:g} make no clip:"
            f" {_percent(no_clip)}"
        )
    for skipped in result.missing:
        yield f"missing: {skipped.item}: {skipped.why}"
    for warning in result.warnings:
        yield f"note: {warning}"


def _direction(direction: JudgedDirection) -> Iterator[str]:
    low, median, high = direction.thresholds
    yield f"{direction.judged_on}, calibrated on {direction.calibrated_on}"
    yield (
        f"  least threshold {direction.threshold:.3f}, drop {direction.drop:.3f}, cohort of"
        f" {direction.cohort}; thresholds {low:.2f} to {high:.2f}, median {median:.2f}"
    )
    for each in direction.verification:
        yield (
            f"  {each.condition}, {each.length_s:g} s: equal error {_percent(each.equal_error)},"
            f" refused {_percent(each.owners_refused)},"
            f" accepted {_percent(each.strangers_accepted)}"
        )
        for fixed in each.fixed:
            yield (
                f"    one threshold {fixed.threshold:.3f} for {fixed.accepted:.1%} accepted:"
                f" refused {_percent(fixed.owners_refused)},"
                f" accepted {_percent(fixed.strangers_accepted)}"
            )
    for house in direction.households:
        yield (
            f"  {house.owners} owners and guests, {house.condition}, {house.length_s:g} s: wrong"
            f" owner {_percent(house.wrong_owner)}, guests {_percent(house.guests_accepted)},"
            f" refused {_percent(house.owners_refused)}"
        )
    for refused in direction.refused_households:
        yield (
            f"  {refused.owners} owners and guests: refused,"
            f" {quantity(refused.missing, 'speaker')} missing"
        )
    for clip in direction.second_voice:
        yield (
            f"  second voice {clip.place}, {clip.condition}: dropped {_percent(clip.dropped)}, own"
            f" clips dropped {_percent(clip.own_dropped)}, left after trimming"
            f" {_percent(clip.left_s)}, of own clips cut {_percent(clip.own_cut_s)}"
        )


def list_objects(result: VoicesResult) -> Iterator[bytes]:
    """Yield the result as JSON objects, one for each group, rate and missing item."""
    for group in result.groups:
        yield msgspec.json.encode({"group": group})
    for direction in result.directions:
        of = {"calibrated_on": direction.calibrated_on, "judged_on": direction.judged_on}
        own: dict[str, Any] = msgspec.to_builtins(direction)
        parts = {
            "verification": direction.verification,
            "households": direction.households,
            "refused_households": direction.refused_households,
            "second_voice": direction.second_voice,
        }
        yield msgspec.json.encode({k: v for k, v in own.items() if k not in parts})
        for name, rows in parts.items():
            for row in rows:
                shown: dict[str, Any] = msgspec.to_builtins(row)
                shown.pop("curve", None)
                yield msgspec.json.encode({**of, name: shown})
    if result.commands is not None:
        yield msgspec.json.encode({"commands": result.commands})
    for skipped in result.missing:
        yield msgspec.json.encode({"missing": skipped})


def write_report(result: VoicesResult, folder: Path) -> None:
    """Write all output files; the same result gives the same bytes.

    Args:
        result: the result.
        folder: output folder; created if missing.

    Raises:
        Unavailable: a file cannot be written.
    """
    contents = {
        "result.json": msgspec.json.format(msgspec.json.encode(result), indent=1),
        "verification.csv": _verification_table(result).csv().encode(),
        "households.csv": _households_table(result).csv().encode(),
        "second-voice.csv": _second_voice_table(result).csv().encode(),
        "report.html": render_voices_page(result).encode(),
    }
    write_folder(folder, contents, itertools.chain(*draw_directions(result)))


def render_voices_page(result: VoicesResult) -> str:
    """Return the page of a result: self-contained HTML without scripts and network requests."""
    template = importlib.resources.files("listener.evaluate.voices").joinpath("voices.html")
    return fill_template(
        template.read_text("utf-8"),
        {
            "title": TITLE,
            "generator": "earmark evaluate voices",
            "has_sound": False,
            "result": result,
            "directions": tuple(zip(result.directions, draw_directions(result), strict=True)),
            "chart": lambda figure: mark_chart(figure.svg),
            "percent": lambda rate: format_rate_html(rate, 100, " %"),
            "plan": msgspec.json.format(msgspec.json.encode(result.plan), indent=2).decode(),
        },
    )


def _percent(rate: Rate) -> str:
    return "no trial" if rate.value is None else format_rate(rate, 100, " %")


def _verification_table(result: VoicesResult) -> Table:
    head = (
        *("judged_on", "condition", "length_s", "accepted_when_chosen", "threshold"),
        *rate_head("equal_error"),
        *rate_head("owners_refused"),
        *rate_head("strangers_accepted"),
    )

    def rows() -> Iterator[tuple[str | float | None, ...]]:
        for of, each in (
            (direction.judged_on, each)
            for direction in result.directions
            for each in direction.verification
        ):
            own = (of, each.condition, each.length_s)
            yield (
                *(*own, "calibrated", ""),
                *rate_cells(each.equal_error),
                *rate_cells(each.owners_refused),
                *rate_cells(each.strangers_accepted),
            )
            for fixed in each.fixed:
                yield (
                    *(*own, fixed.accepted, fixed.threshold),
                    *rate_cells(each.equal_error),
                    *rate_cells(fixed.owners_refused),
                    *rate_cells(fixed.strangers_accepted),
                )

    return Table(head, rows())


def _households_table(result: VoicesResult) -> Table:
    names = ("wrong_owner", "guests_accepted", "owners_refused")
    head = (
        *("judged_on", "owners", "households", "condition", "length_s"),
        *(cell for name in names for cell in rate_head(name)),
    )
    return Table(
        head,
        (
            (
                *(direction.judged_on, each.owners, each.households),
                *(each.condition, each.length_s),
                *(cell for name in names for cell in rate_cells(getattr(each, name))),
            )
            for direction in result.directions
            for each in direction.households
        ),
    )


def _second_voice_table(result: VoicesResult) -> Table:
    names = ("dropped", "own_dropped", "left_s", "own_cut_s")
    return Table(
        (
            *("judged_on", "place", "condition"),
            *(cell for name in names for cell in rate_head(name)),
        ),
        (
            (
                *(direction.judged_on, each.place, each.condition),
                *(cell for name in names for cell in rate_cells(getattr(each, name))),
            )
            for direction in result.directions
            for each in direction.second_voice
        ),
    )
