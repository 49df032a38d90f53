"""Manifests of a corpus: TSV with a header, or JSON Lines.

A line is a wake word in a file, or a file without one. ``offset`` and ``duration`` are the segment
of the file, as in the manifests of NVIDIA NeMo and Kaldi; the place of a word in its segment has
names of its own. A malformed line raises an error that names file and line; a number out of range
makes that line an invalid item, and reading continues.
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
from listener.evaluate.corpus.spelling import find_file
from listener.quantities import quantity
from listener.text_encoding import is_utf16

SUFFIXES: Final = frozenset({".tsv", ".jsonl"})

LONGEST_LINE: Final = 1 << 20
"""Upper limit of a line, in characters."""
LONGEST_SOUND_S: Final = 10 * 366 * 86_400.0

_INVALID_UTF8: Final = re.compile("[\udc80-\udcff]")  # as surrogateescape marks bytes
_CONTROL: Final = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")
_HEAD_BYTES: Final = 64

Row = Mapping[str, object]

_TEXTS: Final = {
    "path": ("path", "file"),
    "word": ("word",),
    "speaker": ("speaker",),
    "condition": ("condition", "group"),
    "transcript": ("transcript", "sentence", "text"),
}
_NUMBERS: Final = (
    *("word_start_s", "offset_s", "word_duration_s", "duration_s"),
    *("start_s", "offset", "length_s", "duration"),
)
_HINT: Final = (
    "give path; optional are word, word_start_s and word_duration_s of the word, speaker,"
    " condition, transcript, and offset and duration of the segment of the file"
)
_SPOKEN: Final = (*_TEXTS["transcript"], *_TEXTS["condition"], *_TEXTS["speaker"])
_JSON_HINT: Final = "write one JSON object a line, without brackets and commas between the lines"
_SEGMENT_HINT: Final = (
    "offset and duration are the segment of the file, as in NeMo; the place of a word in the"
    " segment is word_start_s and word_duration_s"
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

    def notes(self) -> Iterator[str]:
        """Yield a note if lines with a word have ``offset``: it was the word's place before."""
        lines = sum(
            bool(row.get("word")) and _number(row, "offset", str(self.path)) is not None
            for _, row in rows(self.path)
        )
        if lines:
            counted = quantity(lines, "line with a word has", "lines with a word have")
            yield (
                f"{self.path.name}: {counted} offset and duration, which are the segment of the"
                " file; the place of a word is word_start_s and word_duration_s"
            )

    def _item(self, number: int, row: Row) -> Item | InvalidItem:
        origin = f"{self.path.name} line {number}"
        where = f"{self.path} line {number}"
        texts = {name: _text(row, keys, where) for name, keys in _TEXTS.items()}
        numbers = {key: _number(row, key, where) for key in _NUMBERS}
        path = texts["path"]
        if path is None:
            raise ConfigError(f"{where} has no path", _HINT)
        place = _place(numbers, where)
        for name, value, least in (
            ("start of the word", place.word_start_s, 0.0),
            ("duration of the word", place.word_duration_s, math.ulp(0.0)),
            (place.start_name, place.start_s, 0.0),
            (place.length_name, place.length_s, math.ulp(0.0)),
        ):
            if value is not None and not least <= value <= LONGEST_SOUND_S:
                return InvalidItem(origin, f"{path}: the {name} of {value:g} s is out of range")
        word = texts["word"] or self.word
        if place.word_start_s is not None and not word:
            return InvalidItem(origin, f"{path}: it has the place of a word, but no word")
        suffix = f"@{place.start_s or 0:g}" if place.is_segment else ""
        return Item(
            name=f"{Path(path).as_posix()}{suffix}",
            path=find_file(self.path.parent / path),
            labels=(Label(word, place.word_start_s, place.word_end_s),) if word else (),
            start_s=place.start_s or 0.0,
            length_s=place.length_s,
            speaker=texts["speaker"],
            condition=texts["condition"],
            transcript=texts["transcript"],
            origin=origin,
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """The segment of a line, and the place of the word in it, in seconds."""

    word_start_s: float | None
    word_duration_s: float | None
    start_s: float | None
    start_name: str
    length_s: float | None
    length_name: str
    is_segment: bool
    """Whether more than the length of a file is given."""

    @property
    def word_end_s(self) -> float | None:
        """End of the word from the start of the segment."""
        if self.word_start_s is None or self.word_duration_s is None:
            return None
        return self.word_start_s + self.word_duration_s


def _place(numbers: Mapping[str, float | None], where: str) -> _Place:
    """Return the place of a line by its numbers.

    Raises:
        ConfigError: two names contradict each other, or one of a pair is missing.
    """

    def one_of(name: str, other: str) -> float | None:
        if numbers[name] is not None and numbers[other] is not None:
            raise ConfigError(f"{where} has both {name} and {other}", _SEGMENT_HINT)
        return numbers[other] if numbers[name] is None else numbers[name]

    word_start_s = one_of("word_start_s", "offset_s")
    word_duration_s = one_of("word_duration_s", "duration_s")
    if (word_start_s is None) != (word_duration_s is None):
        raise ConfigError(
            f"{where} has only one of word_start_s and word_duration_s", _SEGMENT_HINT
        )
    start_s = one_of("start_s", "offset")
    offset, duration, length_s = numbers["offset"], numbers["duration"], numbers["length_s"]
    if offset is not None and duration is None:
        raise ConfigError(f"{where} has only one of offset and duration", _SEGMENT_HINT)
    if offset is not None:
        length_s = one_of("length_s", "duration")
    elif duration is not None and start_s is not None and length_s is None:
        raise ConfigError(f"{where} has both start_s and duration", _SEGMENT_HINT)
    # Without an offset, duration is the length of the file: of other tables it is the commonest
    # column. Beside start_s and length_s it says nothing about the segment.
    is_segment = start_s is not None or length_s is not None
    has_name = numbers["length_s"] is not None
    return _Place(
        word_start_s=word_start_s,
        word_duration_s=word_duration_s,
        start_s=start_s,
        start_name="start" if offset is None else "offset",
        length_s=length_s if is_segment else duration,
        length_name="length" if has_name else "duration",
        is_segment=is_segment,
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
                raise ConfigError(
                    f"{path} line {number} is not a header with a column path", _header_hint(line)
                )
            continue
        while len(cells) > len(header) and not cells[-1].strip():
            del cells[-1]
        if len(cells) > len(header):
            raise ConfigError(
                f"{path} line {number} has {len(cells)} columns, its header {len(header)}"
            )
        else:
            yield number, {name: cell for name, cell in zip(header, cells, strict=False) if cell}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as head:
            if is_utf16(head.read(_HEAD_BYTES)):
                raise ConfigError(f"{path} is UTF-16 text", "save the table as UTF-8")
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
                    raise ConfigError(
                        f"{path} line {number} is not UTF-8 text", "save the table as UTF-8"
                    )
                yield number, line.rstrip("\n")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (
            error.strerror if isinstance(error, OSError) else "the name contains a NUL character"
        )
        raise Unavailable(f"cannot read {path}: {reason}") from error


def _header_hint(line: str) -> str:
    if '"' in line or "'" in line:
        return "write the names of the columns without quotation marks"
    if "\t" not in line and any(mark in line for mark in ",;"):
        return "separate the columns by tabs, not by commas or semicolons"
    return _HINT


def _object(line: str, path: Path, number: int) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} line {number} is not JSON", _JSON_HINT) from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} line {number} is not a JSON object", _JSON_HINT)
    return value


def _text(row: Row, keys: tuple[str, ...], where: str) -> str | None:
    for key in keys:
        value = row.get(key)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue  # pandas writes NaN where nothing is
        if isinstance(value, float) and key in _SPOKEN and math.isfinite(value):
            # pandas makes a column of numbers with gaps one of floating point.
            value = int(value) if value.is_integer() else value
            return str(value)
        # A speaker may be given as a number.
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ConfigError(f"{where}: {key} is not text", _HINT)
        text = str(value)
        if key in _SPOKEN:
            # Recognisers write transcripts with line ends.
            text = _CONTROL.sub(" ", text)
        if key not in _TEXTS["path"]:
            text = text.strip()
        if not text:
            continue
        if any(ord(letter) < 0x20 or 0xD800 <= ord(letter) < 0xE000 for letter in text):  # noqa: PLR2004 - control characters and lone surrogates
            raise ConfigError(f"{where}: {key} contains control characters")
        return text
    return None


def _number(row: Row, key: str, where: str) -> float | None:
    value = row.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type] # a value that is not a number raises
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise ConfigError(f"{where}: {key} is not a number", _HINT)
    return number


def _source_range(item: Item) -> tuple[Path, float, float | None]:
    return item.path, item.start_s, item.length_s
