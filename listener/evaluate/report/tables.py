"""The result as tables for spreadsheets and statistics: CSV with a head line. Pure.

Numbers are written as Python writes them, so that they read back equal. A name that a spreadsheet
would take for a formula gets an apostrophe before it; ``result.json`` has it as it is.

What a run leaves in its folder: the result, its tables, the page.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from listener.errors import Unavailable
from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import Result
from listener.evaluate.report.html import Sound, render_page

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Cell = str | float | None


def events_csv(result: Result) -> str:
    """Return every event: hits, misses, false wakes and near misses."""
    head = (
        *("engine", "condition", "word", "kind", "item", "play", "at_s", "score", "peak"),
        *("activation_s", "latency_s", "speaker", "clip", "transcript"),
    )
    return _csv(
        head,
        (
            (
                *(word.engine, event.condition, event.word, event.kind.value, event.item),
                *(event.play, event.at_s, event.score, event.peak, event.activation_s),
                *(event.latency_s, event.speaker, event.clip, event.transcript),
            )
            for word in result.words
            for event in word.events
        ),
    )


def curve_csv(result: Result) -> str:
    """Return every threshold of every curve."""
    head = ("engine", "condition", "word", "threshold", *_head("misses"), *_head("false_wakes"))
    return _csv(
        head,
        (
            (
                *(word.engine, word.condition, word.word, point.threshold),
                *_cells(point.misses),
                *_cells(point.false_wakes),
            )
            for word in result.words
            for point in word.curve
        ),
    )


def rates_csv(result: Result) -> str:
    """Return the rates at the thresholds in use: the whole first, then speakers and groups."""
    head = (
        *("engine", "condition", "word", "threshold", "of", "name"),
        *_head("misses"),
        *_head("false_wakes"),
    )
    rows: list[tuple[Cell, ...]] = []
    for word in result.words:
        who = (word.engine, word.condition, word.word, word.threshold)
        rows.append((*who, "all", "", *_cells(word.misses), *_cells(word.false_wakes)))
        for of, breakdowns in (("speaker", word.speakers), ("group", word.groups)):
            rows += [
                (*who, of, row.name, *_cells(row.misses), *_cells(row.false_wakes))
                for row in breakdowns
            ]
    return _csv(head, rows)


def _head(name: str) -> tuple[str, ...]:
    parts = ("count", "exposure", "rate", "low", "high", "unit", "confidence", "method")
    return tuple(f"{name}_{part}" for part in parts)


def _cells(rate: Rate) -> tuple[Cell, ...]:
    return (
        *(rate.count, rate.exposure, rate.value, rate.low, rate.high),
        *(rate.unit, rate.confidence, rate.method),
    )


def _csv(head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return file.getvalue()


def _safe(cell: Cell) -> Cell:
    if not isinstance(cell, str):
        return cell
    # Names of files may hold halves of surrogate pairs, which UTF-8 cannot.
    text = cell.encode("utf-8", "replace").decode("utf-8")
    return f"'{text}" if text.startswith(_FORMULA) else text


TITLE: Final = "Wake-word evaluation"


def write_outputs(result: Result, folder: Path, sound: Sound | None = None) -> None:
    """Write everything; the same result gives the same bytes.

    Args:
        result: what was found.
        folder: made if it is not there.
        sound: gives the page the sound around each false wake; None for a page without.

    Raises:
        Unavailable: the folder cannot be written: it is full, or not ours.
    """
    contents = {
        "result.json": msgspec.json.format(msgspec.json.encode(result), indent=1),
        "rates.csv": rates_csv(result).encode(),
        "curve.csv": curve_csv(result).encode(),
        "events.csv": events_csv(result).encode(),
        "report.html": render_page(result, TITLE, sound).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise Unavailable(f"cannot write {error.filename or folder}: {error.strerror}") from error
