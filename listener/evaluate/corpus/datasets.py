"""Datasets: folders of audio files and published collections, read in their own layouts.

The layout of a folder is recognised by its files: ``manifest.json`` (streams and clips, the layout
of Earmark's own recordings), ``clips`` beside tables with a ``client_id`` (Common Voice),
``*.trans.txt`` beside audio files (LibriSpeech), otherwise audio files alone. Folders are walked in
a fixed order, and tables are read up to a maximum size.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from listener.errors import ConfigError, Unavailable, UsageError
from listener.evaluate.corpus.items import Corpus, InvalidItem, Item, Label, Segment
from listener.evaluate.corpus.manifests import SUFFIXES as MANIFESTS
from listener.evaluate.corpus.manifests import ManifestCorpus, rows
from listener.storage.recordings import SUFFIXES

SOUNDS: Final = SUFFIXES | {".mp3"}
"""File name endings of audio files, in lower case."""
PLAYED_GROUPS: Final = ("negative", "positive")
"""Groups of ``manifest.json`` that are evaluated."""
LARGEST_BYTES: Final = 256 << 20
"""Maximum size of a table."""

_TABLES: Final = ("validated.tsv", "test.tsv", "dev.tsv", "train.tsv")
_SHOWN_ID: Final = 16
"""Characters of a Common Voice ``client_id``, which has 128, that name a speaker."""


def list_files(folder: Path, endings: tuple[str, ...] | frozenset[str]) -> Iterator[Path]:
    """Yield the files below ``folder`` with one of these endings, in a fixed order.

    Raises:
        Unavailable: a folder cannot be read.
    """
    for where, folders, files in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(tuple(endings)):
                yield Path(where, name)


def list_sounds(path: Path) -> tuple[Path, ...]:
    """Return the audio file ``path``, or all audio files below the folder ``path``, by name.

    Raises:
        UsageError: there are none.
    """
    files = (path,) if path.is_file() else tuple(list_files(path, SOUNDS)) if path.is_dir() else ()
    if not files:
        raise UsageError(f"there is no audio file in {path}")
    return files


def read_text(path: Path) -> str:
    """Return a table's text, with invalid UTF-8 replaced; raises as ``read_bytes``."""
    return read_bytes(path).decode("utf-8", "replace")


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


def open_corpus(path: Path, word: str | None = None) -> Corpus:
    """Return the corpus at ``path``, by its layout.

    Args:
        path: a folder, a manifest or an audio file.
        word: label of items that have none; None: they contain no wake word.

    Raises:
        UsageError: there is no such file or folder.
    """
    if path.suffix.lower() in MANIFESTS and path.is_file():
        if _is_common_voice(path):
            return CommonVoice(path, word)
        return ManifestCorpus(path, word)
    if path.is_file():
        return SoundFolder(path.parent, word, (path,))
    if path.is_dir():
        return _open_folder(path, word)
    raise UsageError(f"there is no file or folder {path}")


def _open_folder(path: Path, word: str | None) -> Corpus:
    if (path / "manifest.json").is_file():
        return Recordings(path)
    for name in _TABLES:
        if (path / "clips").is_dir() and (path / name).is_file() and _is_common_voice(path / name):
            return CommonVoice(path / name, word)
    if next(list_files(path, (".trans.txt",)), None) is not None:
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
        for path in self.files or list_files(self.folder, SOUNDS):
            name = Path(self.folder.name, path.relative_to(self.folder)).as_posix()
            yield Item(name=printable(name), path=path, labels=_labels(self.word))


@dataclass(frozen=True, slots=True)
class LibriSpeech:
    """``<speaker>/<chapter>/<utterance>.flac`` beside ``<speaker>-<chapter>.trans.txt``."""

    folder: Path
    word: str | None = None

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield one item for each utterance."""
        for table in list_files(self.folder, (".trans.txt",)):
            transcripts = dict(line.partition(" ")[::2] for line in read_text(table).splitlines())
            for path in sorted(table.parent.iterdir()):
                if path.suffix.lower() not in SOUNDS:
                    continue
                yield Item(
                    name=printable(path.relative_to(self.folder).as_posix()),
                    path=path,
                    labels=_labels(self.word),
                    speaker=path.stem.split("-")[0],
                    transcript=transcripts.get(path.stem),
                    origin=table.name,
                )


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
                path=self.table.parent / "clips" / cells["path"],
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

    Only the groups ``positive/…`` and ``negative/…`` are played; a positive clip contains its
    label at an unknown time.
    """

    folder: Path

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the clips, then the streams, in the order of the manifest."""
        listing = self._listing()
        for sound in (*listing.clips, *listing.streams):
            kind = sound.group.partition("/")[0]
            if kind in PLAYED_GROUPS:
                label = sound.label if kind == "positive" else None
                yield Item(
                    name=sound.file,
                    path=self.folder / sound.file,
                    labels=_labels(label),
                    speaker=sound.speaker,
                    condition=sound.group,
                    transcript=sound.transcript,
                    segments=tuple(_segment(part) for part in sorted(sound.segments, key=_start)),
                )

    def _listing(self) -> _Listing:
        path = self.folder / "manifest.json"
        data = read_bytes(path)
        try:
            return msgspec.json.decode(data, type=_Listing)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: {error}") from error


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
