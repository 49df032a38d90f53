"""Output files of an evaluation: ``result.json``, CSV and LaTeX tables, figures, HTML report.

Numbers are written with all digits, so that they read back equal. A text that a spreadsheet would
interpret as a formula gets a leading apostrophe; ``result.json`` has it unchanged.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from listener.errors import Unavailable
from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import Result
from listener.evaluate.report.figures import Cell, Figure, collect_sections, list_all
from listener.evaluate.report.html import Sound, render_page
from listener.evaluate.report.latex import latex_table
from listener.evaluate.report.png import has_font, render_png
from listener.evaluate.report.svg import standalone

TITLE: Final = "Wake-word evaluation"

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

FIGURES: Final = "figures"
"""Folder of the figures, each as SVG and PNG, and its data as CSV."""
NO_FONT: Final = "README.txt"
"""File in that folder that says why there is no PNG."""

_NO_FONT: Final = (
    "No font was found on this machine, so the figures have no PNG, which would have no text.\n"
    "Install one, for example: apt install fonts-dejavu-core\n"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a result."""

    head: tuple[str, ...]
    rows: Iterable[tuple[Cell, ...]]
    """Rows in the order of the columns; consumed once."""

    def csv(self) -> str:
        """Return the table as CSV, safe to open in a spreadsheet."""
        return _csv(self.head, self.rows)


def events_table(result: Result) -> Table:
    """Return the table of hits, misses, false wakes and near misses."""
    head = (
        *("engine", "condition", "word", "kind", "item", "play", "at_s", "score", "peak"),
        *("activation_s", "latency_s", "speaker", "clip", "transcript"),
    )
    return Table(
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


def curve_table(result: Result) -> Table:
    """Return the table of the rates at every threshold of the curves."""
    head = (
        "engine",
        "condition",
        "word",
        "threshold",
        *rate_head("misses"),
        *rate_head("false_wakes"),
    )
    return Table(
        head,
        (
            (
                *(word.engine, word.condition, word.word, point.threshold),
                *rate_cells(point.misses),
                *rate_cells(point.false_wakes),
            )
            for word in result.words
            for point in word.curve
        ),
    )


def rates_table(result: Result) -> Table:
    """Return the table of the rates at the threshold in use: total, by speaker and by group."""
    head = (
        *("engine", "condition", "word", "threshold", "of", "name"),
        *rate_head("misses"),
        *rate_head("false_wakes"),
    )
    rows: list[tuple[Cell, ...]] = []
    for word in result.words:
        key = (word.engine, word.condition, word.word, word.threshold)
        rows.append((*key, "all", "", *rate_cells(word.misses), *rate_cells(word.false_wakes)))
        for of, breakdowns in (("speaker", word.speakers), ("group", word.groups)):
            rows += [
                (*key, of, row.name, *rate_cells(row.misses), *rate_cells(row.false_wakes))
                for row in breakdowns
            ]
    return Table(head, rows)


def events_csv(result: Result) -> str:
    """Return ``events.csv``."""
    return events_table(result).csv()


def curve_csv(result: Result) -> str:
    """Return ``curve.csv``."""
    return curve_table(result).csv()


def rates_csv(result: Result) -> str:
    """Return ``rates.csv``."""
    return rates_table(result).csv()


TABLES: Final[Mapping[str, Callable[[Result], Table]]] = {
    "rates": rates_table,
    "curve": curve_table,
    "events": events_table,
}
"""The tables by name; each is a CSV file too."""


def write_outputs(result: Result, folder: Path, sound: Sound | None = None) -> None:
    """Write all output files; the same result gives the same bytes.

    Args:
        result: the result.
        folder: output folder; created if missing.
        sound: returns the audio around a false wake; None: a report without audio.

    Raises:
        Unavailable: a file cannot be written.
    """
    contents = {
        "result.json": msgspec.json.format(msgspec.json.encode(result), indent=1),
        "rates.csv": rates_csv(result).encode(),
        "curve.csv": curve_csv(result).encode(),
        "events.csv": events_csv(result).encode(),
        "table.tex": latex_table(result).encode(),
        "report.html": render_page(result, TITLE, sound).encode(),
    }
    write_folder(folder, contents, list_all(collect_sections(result)))


def write_folder(folder: Path, contents: Mapping[str, bytes], figures: Iterable[Figure]) -> None:
    """Write files, and figures to the folder ``figures`` in place of those of an earlier run.

    Args:
        folder: output folder; created if missing.
        contents: contents of the files by name.
        figures: figures, each written as SVG, CSV, and PNG if the machine has a font.

    Raises:
        Unavailable: a file cannot be written.
    """
    files = render_figures(figures)
    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        # Files of an earlier run under other names would pass for figures of this result.
        for old in (folder / FIGURES).glob("figure-*"):
            old.unlink()
        (folder / FIGURES / NO_FONT).unlink(missing_ok=True)
        for name, data in files.items():
            (folder / FIGURES / name).write_bytes(data)
    except OSError as error:
        raise Unavailable(f"cannot write {error.filename or folder}: {error.strerror}") from error


def figure_files(result: Result) -> dict[str, bytes]:
    """Return the files of the figures of a result by name; see ``render_figures``."""
    return render_figures(list_all(collect_sections(result)))


def render_figures(figures: Iterable[Figure]) -> dict[str, bytes]:
    """Return the files of figures by name: SVG, CSV, and PNG if the machine has a font."""
    files: dict[str, bytes] = {}
    with_png = has_font()
    for figure in figures:
        svg = standalone(figure.svg)
        files[f"{figure.stem}.svg"] = svg.encode()
        files[f"{figure.stem}.csv"] = _csv(figure.head, figure.rows).encode()
        if with_png:
            files[f"{figure.stem}.png"] = render_png(svg)
    if not with_png:
        files[NO_FONT] = _NO_FONT.encode()
    return files


def rate_head(name: str) -> tuple[str, ...]:
    """Return the names of the columns of a rate."""
    parts = ("count", "exposure", "rate", "low", "high", "unit", "confidence", "method")
    return tuple(f"{name}_{part}" for part in parts)


def rate_cells(rate: Rate) -> tuple[Cell, ...]:
    """Return the cells of a rate, in the order of `rate_head`."""
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
    # File names may contain lone surrogates, which UTF-8 cannot encode.
    text = cell.encode("utf-8", "replace").decode("utf-8")
    return f"'{text}" if text.startswith(_FORMULA) else text
