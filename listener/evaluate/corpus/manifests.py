"""Manifests of a corpus: TSV with a header, or JSON Lines.

A line is a wake word in a file, or a file without one. A malformed line raises an error that names
file and line; a number out of range makes that line an invalid item, and reading continues.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from listener.errors import ConfigError, Unavailable
from listener.evaluate.corpus.items import InvalidItem, Item, Label

SUFFIXES: Final = frozenset({".tsv", ".jsonl"})

LONGEST_LINE: Final = 1 << 20
"""Upper limit of a line, in characters."""
LONGEST_SOUND_S: Final = 10 * 366 * 86_400.0

_INVALID_UTF8: Final = re.compile("[\udc80-\udcff]")  # as surrogateescape marks bytes

Row = Mapping[str, object]

_TEXTS: Final = {
    "path": ("path", "file"),
    "word": ("word",),
    "speaker": ("speaker",),
    "condition": ("condition", "group"),
    "transcript": ("transcript", "sentence", "text"),
}
_NUMBERS: Final = {
    "offset_s": ("offset_s", "offset"),
    "duration_s": ("duration_s", "duration"),
    "start_s": ("start_s",),
    "length_s": ("length_s",),
}
_HINT: Final = (
    "give path; optional are word, offset_s and duration_s of the word, speaker, condition,"
    " transcript, and start_s and length_s of the segment of the file"
)


@dataclass(frozen=True, slots=True)
class ManifestCorpus:
    """The corpus of a TSV or JSON Lines file; paths are relative to the manifest's folder."""

    path: Path
    word: str | None = None
    """Label of lines without a word; None: they contain no wake word."""

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the items; successive lines about the same segment of a file are one item.

        Raises:
            ConfigError: a line is malformed.
            Unavailable: the manifest cannot be read.
        """
        previous: Item | None = None
        for number, row in rows(self.path):
            item = self._item(number, row)
            if isinstance(item, InvalidItem):
                yield item
            elif previous and _source_range(previous) == _source_range(item) and item.labels:
                previous = replace(previous, labels=previous.labels + item.labels)
            else:
                if previous:
                    yield previous
                previous = item
        if previous:
            yield previous

    def _item(self, number: int, row: Row) -> Item | InvalidItem:
        origin = f"{self.path.name} line {number}"
        where = f"{self.path} line {number}"
        texts = {name: _text(row, keys, where) for name, keys in _TEXTS.items()}
        numbers = {name: _number(row, keys, where) for name, keys in _NUMBERS.items()}
        path = texts["path"]
        if path is None:
            raise ConfigError(f"{where} has no path", _HINT)
        offset_s, duration_s = numbers["offset_s"], numbers["duration_s"]
        if (offset_s is None) != (duration_s is None):
            raise ConfigError(f"{where} has only one of offset and duration")
        start_s, length_s = numbers["start_s"], numbers["length_s"]
        for name, value, least in (
            ("offset", offset_s, 0.0),
            ("duration", duration_s, math.ulp(0.0)),
            ("start", start_s, 0.0),
            ("length", length_s, math.ulp(0.0)),
        ):
            if value is not None and not least <= value <= LONGEST_SOUND_S:
                return InvalidItem(origin, f"{path}: the {name} of {value:g} s is out of range")
        word = texts["word"] or self.word
        end_s = None if offset_s is None or duration_s is None else offset_s + duration_s
        suffix = "" if start_s is None and length_s is None else f"@{start_s or 0:g}"
        return Item(
            name=f"{Path(path).as_posix()}{suffix}",
            path=self.path.parent / path,
            labels=(Label(word, offset_s, end_s),) if word else (),
            start_s=start_s or 0.0,
            length_s=length_s,
            speaker=texts["speaker"],
            condition=texts["condition"],
            transcript=texts["transcript"],
            origin=origin,
        )


def rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Read a manifest line by line, in constant memory.

    Yields:
        Number of the line, from 1, and its fields.

    Raises:
        ConfigError: a line is not UTF-8, too long, not a JSON object, or has more columns than the
            header.
        Unavailable: the file cannot be read.
    """
    header: list[str] | None = None
    for number, line in _lines(path):
        if not line.strip():
            continue
        if path.suffix.lower() != ".tsv":
            yield number, _object(line, path, number)
            continue
        cells = line.split("\t")
        if header is None:
            header = [cell.strip() for cell in cells]
            if not {"path", "file"} & set(header):
                raise ConfigError(f"{path} line {number} is not a header with a column path", _HINT)
        elif len(cells) > len(header):
            raise ConfigError(
                f"{path} line {number} has {len(cells)} columns, its header {len(header)}"
            )
        else:
            yield number, {name: cell for name, cell in zip(header, cells, strict=False) if cell}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        # Lines end with LF, CR LF, or CR alone, as spreadsheets for macOS write them.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=None) as stream:
            number = 0
            while line := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise ConfigError(
                        f"{path} line {number} is longer than {LONGEST_LINE} characters"
                    )
                if _INVALID_UTF8.search(line):
                    raise ConfigError(f"{path} line {number} is not UTF-8 text")
                yield number, line.rstrip("\n")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (
            error.strerror if isinstance(error, OSError) else "the name contains a NUL character"
        )
        raise Unavailable(f"cannot read {path}: {reason}") from error


def _object(line: str, path: Path, number: int) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} line {number} is not JSON", _HINT) from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} line {number} is not a JSON object", _HINT)
    return value


def _text(row: Row, keys: tuple[str, ...], where: str) -> str | None:
    for key in keys:
        value = row.get(key)
        if value is None or value == "":
            continue
        # A speaker may be given as a number.
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError(f"{where}: {key} is not text", _HINT)
        text = str(value)
        if any(ord(letter) < 0x20 or 0xD800 <= ord(letter) < 0xE000 for letter in text):  # noqa: PLR2004 - control characters and lone surrogates
            raise ConfigError(f"{where}: {key} contains control characters")
        return text
    return None


def _number(row: Row, keys: tuple[str, ...], where: str) -> float | None:
    for key in keys:
        value = row.get(key)
        if value is None or value == "":
            continue
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type] # a value that is not a number raises
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isnan(number):
            raise ConfigError(f"{where}: {key} is not a number", _HINT)
        return number
    return None


def _source_range(item: Item) -> tuple[Path, float, float | None]:
    return item.path, item.start_s, item.length_s
