"""Folders and published collections, read as they are.

A folder is known by what lies in it: ``manifest.json`` (streams and clips, as beside Earmark's own
recordings), ``clips`` beside tables with a ``client_id`` (Common Voice), ``*.trans.txt`` beside
sounds (LibriSpeech), else sounds alone.

Folders of sounds and tables: walked in one order, read within bounds.
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
"""What counts as a sound where a folder is walked."""

LARGEST_BYTES: Final = 256 << 20


def list_files(folder: Path, endings: tuple[str, ...] | frozenset[str]) -> Iterator[Path]:
    """Give the files below ``folder`` with one of these endings, always in the same order.

    Raises:
        Unavailable: a folder cannot be read.
    """
    for where, folders, files in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(tuple(endings)):
                yield Path(where, name)


def list_sounds(path: Path) -> tuple[Path, ...]:
    """Return a sound file, or all in a folder and below it, by name.

    Raises:
        UsageError: there is none.
    """
    found = (path,) if path.is_file() else tuple(list_files(path, SOUNDS)) if path.is_dir() else ()
    if not found:
        raise UsageError(f"there is no sound file in {path}")
    return found


def read_text(path: Path) -> str:
    """Return what a table says; what is no UTF-8 in it is replaced. Errors as of ``read_bytes``."""
    return read_bytes(path).decode("utf-8", "replace")


def read_bytes(path: Path) -> bytes:
    """Return the whole of a file.

    Raises:
        ConfigError: it is larger than any table.
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise unavailable(error) from error
    if len(data) > LARGEST_BYTES:
        raise ConfigError(f"{path} is larger than any table")
    return data


def unavailable(error: OSError) -> Unavailable:
    """Return the error for a file or folder that cannot be read, with its name and the reason."""
    return Unavailable(f"cannot read {printable(str(error.filename))}: {error.strerror}")


def printable(name: str) -> str:
    """Return a name that JSON can say, of one that may hold bytes which are no UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def _unreadable(error: OSError) -> None:
    raise unavailable(error) from error


PLAYED_GROUPS: Final = ("negative", "positive")

_TABLES: Final = ("validated.tsv", "test.tsv", "dev.tsv", "train.tsv")
_SHOWN_ID: Final = 16
"""Of the 128 digits that Common Voice calls a speaker by."""


def open_corpus(path: Path, word: str | None = None) -> Corpus:
    """Find out what ``path`` is.

    Args:
        path: a folder, a manifest or a sound file.
        word: what is said in each item that does not say itself; None: nothing.

    Raises:
        UsageError: there is nothing of the kind.
    """
    if path.suffix.lower() in MANIFESTS and path.is_file():
        if _is_common_voice(path):
            return CommonVoice(path, word)
        return ManifestCorpus(path, word)
    if path.is_file():
        return SoundFolder(path.parent, word, (path,))
    if path.is_dir():
        return _open_folder(path, word)
    raise UsageError(f"there is no folder and no manifest {path}")


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
    """Sound files in a folder and below it, by name."""

    folder: Path
    word: str | None = None
    files: tuple[Path, ...] = ()
    """Only these; none: all."""

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Give one item a file."""
        for path in self.files or list_files(self.folder, SOUNDS):
            name = Path(self.folder.name, path.relative_to(self.folder)).as_posix()
            yield Item(name=printable(name), path=path, labels=_labels(self.word))


@dataclass(frozen=True, slots=True)
class LibriSpeech:
    """``<speaker>/<chapter>/<utterance>.flac`` beside ``<speaker>-<chapter>.trans.txt``."""

    folder: Path
    word: str | None = None

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Give one item an utterance."""
        for table in list_files(self.folder, (".trans.txt",)):
            said = dict(line.partition(" ")[::2] for line in read_text(table).splitlines())
            for path in sorted(table.parent.iterdir()):
                if path.suffix.lower() not in SOUNDS:
                    continue
                yield Item(
                    name=printable(path.relative_to(self.folder).as_posix()),
                    path=path,
                    labels=_labels(self.word),
                    speaker=path.stem.split("-")[0],
                    transcript=said.get(path.stem),
                    origin=table.name,
                )


@dataclass(frozen=True, slots=True)
class CommonVoice:
    """A table of Mozilla Common Voice with ``clips`` beside it."""

    table: Path
    word: str | None = None

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Give one item a clip."""
        for number, row in rows(self.table):
            cells = {key: str(value) for key, value in row.items()}
            if "path" not in cells:
                yield InvalidItem(f"{self.table.name} line {number}", "it names no clip")
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

    Only the groups ``positive/…`` and ``negative/…`` are played; what a positive clip is labelled
    with is said in it, somewhere.
    """

    folder: Path

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Give the clips, then the streams, in the order of the manifest."""
        listing = self._listing()
        for sound in (*listing.clips, *listing.streams):
            kind = sound.group.partition("/")[0]
            if kind in PLAYED_GROUPS:
                said = sound.label if kind == "positive" else None
                yield Item(
                    name=sound.file,
                    path=self.folder / sound.file,
                    labels=_labels(said),
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
