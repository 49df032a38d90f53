"""Datasets: folders of audio files and published collections, read in their own layouts.

The layout of a folder is recognised by its files: ``manifest.json`` (streams and clips, the layout
of Earmark's own recordings), ``clips`` beside tables with a ``client_id`` (Common Voice),
``*.trans.txt`` beside audio files (LibriSpeech), otherwise audio files alone. Folders are walked in
a fixed order, and tables are read up to a maximum size.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

import msgspec

from listener.errors import ConfigError, Unavailable, UsageError
from listener.evaluate.corpus.items import Corpus, InvalidItem, Item, Label, Segment
from listener.evaluate.corpus.manifests import SUFFIXES as MANIFESTS
from listener.evaluate.corpus.manifests import ManifestCorpus, rows
from listener.evaluate.corpus.spelling import find_file
from listener.quantities import quantity
from listener.storage.recordings import SUFFIXES
from listener.text_encoding import UTF8_MARK, is_utf16

APPLE_DOUBLE: Final = "._"
"""Prefix of files in which macOS keeps attributes beside a file (RFC 1740); they hold no audio."""
PLAYED_GROUPS: Final = ("negative", "positive")
"""Groups of ``manifest.json`` that are evaluated."""
LARGEST_BYTES: Final = 256 << 20
"""Maximum size of a table."""

_TRANSCRIPTS: Final = ".trans.txt"
_OTHER_TABLES: Final = frozenset(
    {".csv", ".feather", ".json", ".ods", ".parquet", ".txt", ".xls", ".xlsx", ".yaml", ".yml"}
)
_SHOWN_KINDS: Final = 8
"""Kinds of skipped files that a note names; further ones are only counted."""
_TABLES: Final = ("validated.tsv", "test.tsv", "dev.tsv", "train.tsv")
_SHOWN_ID: Final = 16
"""Characters of a Common Voice ``client_id``, which has 128, that name a speaker."""


def list_files(
    folder: Path, endings: tuple[str, ...] | frozenset[str], others: Counter[str] | None = None
) -> Iterator[Path]:
    """Yield the files below ``folder`` with one of these endings, in a fixed order.

    Args:
        folder: folder to search.
        endings: ends of file names, in lower case.
        others: files with other endings are counted here, by ending.

    Raises:
        Unavailable: a folder cannot be read.
    """
    for where, folders, files in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(tuple(endings)) and not name.startswith(APPLE_DOUBLE):
                yield Path(where, name)
            elif others is not None:
                others[_kind(name)] += 1


def list_sounds(path: Path) -> tuple[Path, ...]:
    """Return the audio file ``path``, or all audio files below the folder ``path``, by name.

    Raises:
        UsageError: there are none.
    """
    path = find_file(path)
    others: Counter[str] = Counter()
    if path.is_file():
        return (path,)
    files = tuple(list_files(path, SUFFIXES, others)) if path.is_dir() else ()
    if not files:
        raise UsageError(
            f"there is no audio file in {path}",
            skipped_note(path, others) or "name an audio file, or a folder that contains some",
        )
    return files


def skipped_note(folder: Path, others: Counter[str]) -> str | None:
    """Return the note on files that were skipped in a folder; None without any.

    Args:
        folder: the folder, for the note.
        others: number of files by ending, as ``list_files`` counts them.
    """
    total = sum(others.values())
    if not total:
        return None
    kinds = [f"{kind} {count}" for kind, count in sorted(others.items())]
    more = (
        f", and {quantity(len(kinds) - _SHOWN_KINDS, 'other kind')}"
        if len(kinds) > _SHOWN_KINDS
        else ""
    )
    files = "1 file of another kind was" if total == 1 else f"{total} files of other kinds were"
    return f"{files} skipped in {printable(str(folder))}: {', '.join(kinds[:_SHOWN_KINDS])}{more}"


def find_skipped(path: Path) -> str | None:
    """Return the note on files of other kinds in the folder ``path``; None without any.

    Raises:
        Unavailable: a folder cannot be read.
    """
    path = find_file(path)
    others: Counter[str] = Counter()
    if path.is_dir():
        for _ in list_files(path, SUFFIXES, others):
            pass
    return skipped_note(path, others)


def _kind(name: str) -> str:
    """Return the ending that a skipped file is counted by."""
    if name.startswith(APPLE_DOUBLE):
        return f"{APPLE_DOUBLE} (macOS)"
    suffix = printable(PurePath(name).suffix.lower())
    return suffix if suffix.isprintable() and suffix else "without an ending"


def read_text(path: Path) -> str:
    """Return a table's text without a byte order mark, with invalid UTF-8 replaced.

    Raises:
        ConfigError: it is UTF-16, or larger than ``LARGEST_BYTES``.
        Unavailable: it cannot be read.
    """
    data = read_bytes(path)
    if is_utf16(data):
        raise ConfigError(f"{path} is UTF-16 text", "save the table as UTF-8")
    return data.removeprefix(UTF8_MARK).decode("utf-8", "replace")


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ConfigError: it is larger than ``LARGEST_BYTES``.
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise unavailable(error) from error
    if len(data) > LARGEST_BYTES:
        raise ConfigError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB")
    return data


def unavailable(error: OSError) -> Unavailable:
    """Convert an OSError of a file or folder into Unavailable, with its name and the reason."""
    return Unavailable(f"cannot read {printable(str(error.filename))}: {error.strerror}")


def printable(name: str) -> str:
    """Return a file name with invalid UTF-8 replaced, so that JSON can hold it."""
    return os.fsencode(name).decode(errors="replace")


def _unreadable(error: OSError) -> None:
    raise unavailable(error) from error


def open_corpus(
    path: Path, word: str | None = None, groups: tuple[str, ...] = PLAYED_GROUPS
) -> Corpus:
    """Return the corpus at ``path``, by its layout.

    Args:
        path: a folder, a manifest or an audio file.
        word: label of items that have none; None: they contain no wake word.
        groups: groups of a ``manifest.json`` that are read.

    Raises:
        UsageError: there is no such file or folder.
    """
    path = find_file(path)
    if path.is_file() and path.suffix.lower() in _OTHER_TABLES:
        raise UsageError(
            f"{path} is a table of a kind that is not read", _table_hint(path.suffix.lower())
        )
    if path.suffix.lower() in MANIFESTS and path.is_file():
        if _is_common_voice(path):
            return CommonVoice(path, word)
        return ManifestCorpus(path, word)
    if path.is_file():
        return SoundFolder(path.parent, word, (path,))
    if path.is_dir():
        return _open_folder(path, word, groups)
    raise UsageError(f"there is no file or folder {path}")


def _table_hint(suffix: str) -> str:
    if suffix == ".json":
        return (
            "write one JSON object a line to a file that ends in .jsonl, or name the folder of a"
            " manifest.json"
        )
    return (
        "write the table with tabs between the columns to a file that ends in .tsv, or one JSON"
        " object a line to one that ends in .jsonl"
    )


def _open_folder(path: Path, word: str | None, groups: tuple[str, ...]) -> Corpus:
    if (path / "manifest.json").is_file():
        return Recordings(path, groups)
    for name in _TABLES:
        if (path / "clips").is_dir() and (path / name).is_file() and _is_common_voice(path / name):
            return CommonVoice(path / name, word)
    if next(list_files(path, (_TRANSCRIPTS,)), None) is not None:
        return LibriSpeech(path, word)
    return SoundFolder(path, word)


@dataclass(frozen=True, slots=True)
class SoundFolder:
    """Audio files in a folder and its subfolders, by name."""

    folder: Path
    word: str | None = None
    files: tuple[Path, ...] = ()
    """Only these files; empty: all."""

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield one item for each file."""
        for path in self.files or list_files(self.folder, SUFFIXES):
            name = Path(self.folder.name, path.relative_to(self.folder)).as_posix()
            yield Item(name=printable(name), path=path, labels=_labels(self.word))

    def notes(self) -> Iterator[str]:
        """Yield a note on files that are skipped because of their names."""
        note = None if self.files else find_skipped(self.folder)
        if note is not None:
            yield note


@dataclass(frozen=True, slots=True)
class LibriSpeech:
    """``<speaker>/<chapter>/<utterance>.flac`` beside ``<speaker>-<chapter>.trans.txt``."""

    folder: Path
    word: str | None = None

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield one item for each utterance."""
        for table in list_files(self.folder, (_TRANSCRIPTS,)):
            transcripts = dict(line.partition(" ")[::2] for line in read_text(table).splitlines())
            for path in sorted(table.parent.iterdir()):
                if not _is_sound(path):
                    continue
                yield Item(
                    name=printable(path.relative_to(self.folder).as_posix()),
                    path=path,
                    labels=_labels(self.word),
                    speaker=path.stem.split("-")[0],
                    transcript=transcripts.get(path.stem),
                    origin=table.name,
                )

    def notes(self) -> Iterator[str]:
        """Yield notes on audio files without a table, and on files of other kinds."""
        tables = {path.parent for path in list_files(self.folder, (_TRANSCRIPTS,))}
        others: Counter[str] = Counter()
        alone = sum(
            path.parent not in tables and not path.name.endswith(_TRANSCRIPTS)
            for path in list_files(self.folder, SUFFIXES | {_TRANSCRIPTS}, others)
        )
        if alone:
            yield (
                f"{alone} audio files in {printable(str(self.folder))} were skipped: there is no"
                f" table *{_TRANSCRIPTS} in their folders"
            )
        note = skipped_note(self.folder, others)
        if note is not None:
            yield note


@dataclass(frozen=True, slots=True)
class CommonVoice:
    """A table of Mozilla Common Voice with ``clips`` beside it."""

    table: Path
    word: str | None = None

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield one item for each clip."""
        for number, row in rows(self.table):
            cells = {key: str(value) for key, value in row.items()}
            if "path" not in cells:
                yield InvalidItem(f"{self.table.name} line {number}", "it has no path")
                continue
            yield Item(
                name=f"clips/{cells['path']}",
                path=find_file(self.table.parent / "clips" / cells["path"]),
                labels=_labels(self.word),
                speaker=cells["client_id"][:_SHOWN_ID] if "client_id" in cells else None,
                condition=cells.get("accents") or cells.get("accent") or cells.get("gender"),
                transcript=cells.get("sentence"),
                origin=f"{self.table.name} line {number}",
            )


class _RecordingPart(msgspec.Struct, frozen=True):
    start: float
    end: float
    clip: str | None = None
    speaker: str | None = None
    transcript: str | None = None


class _Sound(msgspec.Struct, frozen=True):
    file: str
    group: str = ""
    label: str | None = None
    speaker: str | None = None
    transcript: str | None = None
    segments: tuple[_RecordingPart, ...] = ()


class _Listing(msgspec.Struct, frozen=True):
    streams: tuple[_Sound, ...] = ()
    clips: tuple[_Sound, ...] = ()


@dataclass(frozen=True, slots=True)
class Recordings:
    """A folder whose ``manifest.json`` lists clips and streams by group.

    Only some groups are played, by default ``positive/…`` and ``negative/…``; a positive clip
    contains its label at an unknown time.
    """

    folder: Path
    groups: tuple[str, ...] = PLAYED_GROUPS
    """Groups that are played: the first parts of their names."""

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the clips, then the streams, in the order of the manifest."""
        listing = self._listing()
        for sound in (*listing.clips, *listing.streams):
            kind = _group(sound)
            if kind in self.groups:
                label = sound.label if kind == "positive" else None
                yield Item(
                    name=sound.file,
                    path=find_file(self.folder / sound.file),
                    labels=_labels(label),
                    speaker=sound.speaker,
                    condition=sound.group,
                    transcript=sound.transcript,
                    segments=tuple(_segment(part) for part in sorted(sound.segments, key=_start)),
                )

    def notes(self) -> Iterator[str]:
        """Yield a note on recordings of groups that are not played."""
        listing = self._listing()
        others = Counter(_group(sound) for sound in (*listing.clips, *listing.streams))
        parts = [
            f"{group or 'without a group'} {count}"
            for group, count in sorted(others.items())
            if group not in self.groups
        ]
        if parts:
            yield (
                f"recordings of {printable(str(self.folder))} in other groups than"
                f" {' and '.join(sorted(self.groups, reverse=True))} were skipped:"
                f" {', '.join(parts[:_SHOWN_KINDS])}"
            )

    def _listing(self) -> _Listing:
        path = self.folder / "manifest.json"
        data = read_bytes(path)
        if is_utf16(data):
            raise ConfigError(f"{path} is UTF-16 text", "save it as UTF-8")
        try:
            return msgspec.json.decode(data.removeprefix(UTF8_MARK), type=_Listing)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: {error}") from error


def _group(sound: _Sound) -> str:
    return sound.group.partition("/")[0]


def _is_sound(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(APPLE_DOUBLE)


def _labels(word: str | None) -> tuple[Label, ...]:
    return (Label(word),) if word else ()


def _segment(part: _RecordingPart) -> Segment:
    return Segment(part.start, part.end, part.speaker, part.clip, part.transcript)


def _start(part: _RecordingPart) -> float:
    return part.start


def _is_common_voice(table: Path) -> bool:
    try:
        with table.open("rb") as stream:
            header = stream.readline(1 << 16).decode("utf-8-sig", "replace")
    except OSError as error:
        raise unavailable(error) from error
    return {"client_id", "path"} <= set(header.strip().split("\t")) and (
        table.parent / "clips"
    ).is_dir()
