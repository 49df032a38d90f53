"""HTML report: a self-contained page without scripts and network requests. Pure.

Texts of manifests cannot become markup: the template escapes its values, and charts are built as
element trees.
"""

import base64
import importlib.resources
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import jinja2
import msgspec
from markupsafe import Markup

from listener.evaluate.metrics.results import (
    DetectionEvent,
    EventKind,
    Excerpt,
    Repeatability,
    Result,
    WordResult,
)
from listener.evaluate.report import charts
from listener.evaluate.report.figures import (
    EngineFigures,
    Figure,
    SectionFigures,
    collect_sections,
)
from listener.evaluate.report.svg import SERIES, clean, format_value, series_style
from listener.evaluate.report.text import (
    format_per_hour,
    format_rate,
    format_rate_html,
    list_figures,
)

MOST_CARDS: Final = 60
"""False wakes of one result that the page shows."""
MOST_MISSES: Final = 200
"""Misses of one result that the page shows."""

HEAD: Final = "head.html"
"""Common head of the pages."""
_SAME_S: Final = 1.0
"""Maximum time between an event and the repeatability entry that belongs to it."""

Sound = Callable[[WordResult, DetectionEvent], bytes | None]
"""Returns the audio around an event as FLAC, or None if there is none."""


@dataclass(frozen=True, slots=True)
class _Card:
    """A false wake on the page."""

    event: DetectionEvent
    trace: Markup
    repeat: Repeatability | None
    sound: str
    """FLAC in base64; empty without audio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnginePart:
    """Charts and events of one engine."""

    word: WordResult
    series: str
    figures: EngineFigures
    speakers_left: int
    groups_left: int
    lanes_left: int
    cards: Sequence[_Card]
    cards_left: int
    misses: Sequence[DetectionEvent]
    misses_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """Results of several engines for one word under one condition."""

    word: str
    condition: str
    engines: Sequence[str]
    det: Figure | None
    thresholds: Figure | None
    coinciding: Sequence[Sequence[str]]
    """Engines whose curves are the same, a group for each such curve."""
    parts: Sequence[_EnginePart]


def render_page(result: Result, title: str, sound: Sound | None = None) -> str:
    """Return the page of a result.

    Args:
        result: the result.
        title: title of the page.
        sound: called for each false wake on the page; None: a page without audio.

    Returns:
        HTML, in UTF-8; the same arguments give the same bytes.
    """
    collected = collect_sections(result)
    series = {
        id(word): f"s{index % SERIES}"
        for section in collected
        for index, word in enumerate(section.words)
    }
    sections = [
        _section(section, [_part(each, series[id(each.word)], sound) for each in section.engines])
        for section in collected
    ]
    confidences = {word.misses.confidence for word in result.words}
    template = importlib.resources.files("listener.evaluate.report").joinpath("page.html")
    return fill_template(
        template.read_text("utf-8"),
        {
            "title": title,
            "generator": "earmark evaluate",
            "result": result,
            "sections": sections,
            "series": [series[id(word)] for word in result.words],
            "chart": lambda figure: mark_chart(figure.svg),
            "confidence": " and ".join(f"{value * 100:g} %" for value in sorted(confidences)),
            "plan": msgspec.json.format(msgspec.json.encode(result.plan), indent=2).decode(),
            "has_sound": any(card.sound for s in sections for p in s.parts for card in p.cards),
            "misses": lambda rate: format_rate_html(rate, 100, " %"),
            "false_wakes": lambda rate: format_rate_html(rate, 1, ""),
            "plain": lambda rate: format_rate(rate, 1, ""),
            "counted": lambda value: f"{value:,.4g}",
            "hours": lambda value: f"{value:,.1f}" if value < 10 else f"{value:,.0f}",  # noqa: PLR2004 - one decimal below 10
            "clock": lambda seconds: format_value(seconds, "clock"),
            "facts": list_figures,
            "rarely": format_per_hour,
            "has_costs": any(word.costs for word in result.words),
            "cost_of": lambda cost: format_rate_html(cost, 1, ""),
            "plain_cost": lambda cost: format_rate(cost, 1, ""),
            "speeds": {speed.engine: speed for speed in result.speeds},
        },
    )


def fill_template(template: str, values: Mapping[str, object]) -> str:
    """Return a page in the common style: without scripts, and with every value escaped.

    Args:
        template: Jinja template, which includes the common head.
        values: values of the template by name, with those of the head: ``title``, ``generator``
            and ``has_sound``.
    """
    folder = importlib.resources.files("listener.evaluate.report")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({HEAD: folder.joinpath(HEAD).read_text("utf-8")}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = environment.from_string(folder.joinpath("page.css").read_text("utf-8")).render(
        series_style=Markup(series_style())  # noqa: S704 - constants
    )
    page = environment.from_string(template)
    return clean(page.render(style=Markup(style), **values))  # noqa: S704 - the style sheet of the package


def _section(figures: SectionFigures, parts: Sequence[_EnginePart]) -> _Section:
    words = figures.words
    return _Section(
        word=words[0].word,
        condition=words[0].condition,
        engines=[word.engine for word in words],
        det=figures.det,
        thresholds=figures.thresholds,
        coinciding=charts.coinciding([word for word in words if word.curve]),
        parts=parts,
    )


def _part(figures: EngineFigures, series: str, sound: Sound | None) -> _EnginePart:
    word = figures.word
    false = [event for event in word.events if event.kind is EventKind.FALSE_WAKE]
    misses = sorted(
        (event for event in word.events if event.kind is EventKind.MISS),
        key=lambda event: (event.score, event.item, event.at_s),
    )
    shown = _select_events(false, word.repeatability)
    excerpts = {(e.item, e.play, e.at_s): e for e in word.excerpts}
    return _EnginePart(
        word=word,
        series=series,
        figures=figures,
        speakers_left=max(0, _rows(figures.speakers) - charts.MOST_ROWS),
        groups_left=max(0, _rows(figures.groups) - charts.MOST_ROWS),
        lanes_left=max(0, len({event.item for event in false}) - charts.MOST_LANES),
        cards=[
            _card(word, event, repeat, excerpts.get((event.item, event.play, event.at_s)), sound)
            for event, repeat in shown[:MOST_CARDS]
        ],
        cards_left=max(0, len(shown) - MOST_CARDS),
        misses=misses[:MOST_MISSES],
        misses_left=max(0, len(misses) - MOST_MISSES),
    )


def _rows(figure: Figure | None) -> int:
    return len(figure.rows) if figure else 0


def _card(
    word: WordResult,
    event: DetectionEvent,
    repeat: Repeatability | None,
    excerpt: Excerpt | None,
    sound: Sound | None,
) -> _Card:
    flac = sound(word, event) if sound else None
    return _Card(
        event=event,
        trace=mark_chart(excerpt and charts.draw_trace(excerpt, word.threshold)),
        repeat=repeat,
        sound=base64.b64encode(flac).decode("ascii") if flac else "",
    )


def _select_events(
    events: Iterable[DetectionEvent], repeats: Sequence[Repeatability]
) -> list[tuple[DetectionEvent, Repeatability | None]]:
    """Return one event for all its plays, by the number of plays that woke, then by peak."""
    by_item: dict[str, list[Repeatability]] = {}
    for repeat in repeats:
        if repeat.kind == EventKind.FALSE_WAKE:
            by_item.setdefault(repeat.item, []).append(repeat)
    best: dict[tuple[str, float], tuple[DetectionEvent, Repeatability | None]] = {}
    for event in events:
        nearest = _nearest(by_item.get(event.item, ()), event.at_s)
        key = event.item, event.at_s if nearest is None else nearest.at_s
        previous = best.get(key)
        if previous is None or previous[0].peak < event.peak:
            best[key] = event, nearest
    return sorted(
        best.values(),
        key=lambda pair: (
            -(pair[1].fired if pair[1] else 0),
            -pair[0].peak,
            pair[0].item,
            pair[0].at_s,
        ),
    )


def _nearest(repeats: Iterable[Repeatability], at_s: float) -> Repeatability | None:
    """Return the entry closest to ``at_s`` within ``_SAME_S``; None if there is none."""
    near = (repeat for repeat in repeats if abs(repeat.at_s - at_s) <= _SAME_S)
    return min(near, key=lambda repeat: abs(repeat.at_s - at_s), default=None)


def mark_chart(svg: object) -> Markup:
    """Mark a chart as safe markup; return empty markup for a false value."""
    return Markup(svg) if svg else Markup()  # noqa: S704 - serialised from an element tree
