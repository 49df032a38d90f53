"""Where sealed clips lie: one ciphertext file each, and an index of what their headers say.

The file is on the disk before its row, and the row before anybody is told. After a crash between
the two, ``mend`` makes the row from the file. The index is a convenience: the files carry their own
proof, and whoever hands one out verifies it again.
"""

import contextlib
import hashlib
import logging
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from listener.envelope.format import ENVELOPE_LIMIT_BYTES, Envelope
from listener.errors import BadEnvelope, EarmarkError, Unavailable
from listener.home import make_folder

SUFFIX: Final = ".earmark"
_PART: Final = ".part"
_CLIP: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ZEROS_BYTES: Final = 1 << 16
# How far a device's clock may lie behind ours when its clip arrives: a week in the spool, and one
# day. Further off, it is the clock that is wrong, and retention counts from the arrival.
_PLAUSIBLE_S: Final = 8 * 86_400

_SCHEMA: Final = """
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma secure_delete = on;
    pragma trusted_schema = off;
    create table if not exists clip (
        clip text primary key,
        owner text not null,
        device text not null,
        dkey text not null,
        seq integer not null,
        t text not null,
        ttl_s integer not null,
        size_bytes integer not null,
        sha256 text not null,
        ciphertext_sha256 text not null unique,
        received_s integer not null,
        expires_s integer not null,
        erased integer not null default 0,
        unique (dkey, seq)
    ) strict, without rowid;
    create index if not exists clip_by_owner on clip (owner, t);
    create index if not exists clip_by_expiry on clip (expires_s) where not erased;
"""

_log = logging.getLogger(__name__)


class Replayed(EarmarkError):
    """Other bytes claim what an archived clip has: refuse them, keep what is there."""


class Erased(EarmarkError):
    """This clip was here and is gone for good: do not take it again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An archived clip, as its header describes it."""

    clip: str
    owner: str
    device: str
    seq: int
    t: str
    ttl_s: int
    size_bytes: int
    received_s: int


class Store(Protocol):
    """What the archive needs to keep clips. SQLite and files here; others fit."""

    def keep(self, envelope: Envelope, data: bytes, received_s: int) -> bool:
        """Keep a verified envelope durably.

        Args:
            envelope: what ``verify`` returned.
            data: its bytes.
            received_s: now, seconds since 1970.

        Returns:
            False when exactly these bytes were here already.

        Raises:
            Replayed: its id, its ciphertext or its number belongs to another envelope.
            Erased: it was erased.
            Unavailable: it cannot be kept now.
        """

    def kept(self, owner: str | None = None) -> Iterator[Kept]:
        """Yield what is here, in the order of its time; only one owner's if asked."""

    def expire(self, now_s: int) -> int:
        """Erase what has outlived its retention; return how many clips went."""


class FileStore:
    """Files below ``clips/<owner>/``, an SQLite index beside them. For one thread.

    Args:
        folder: made when it is not there.

    Raises:
        Unavailable: from each method, when folder or index cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clips = folder / "clips"
        make_folder(self._clips)
        with _available(folder):
            index = folder / "index.sqlite"
            os.close(os.open(index, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._index = sqlite3.connect(index, isolation_level=None, timeout=10)
            try:
                self._index.executescript(_SCHEMA)
            except sqlite3.Error:
                self._index.close()
                raise

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def keep(self, envelope: Envelope, data: bytes, received_s: int) -> bool:
        """Keep a verified envelope durably; see ``Store``."""
        sha256 = hashlib.sha256(data).hexdigest()
        header = envelope.header
        with _available(self._folder):
            found = self._index.execute(
                "select clip, sha256, erased from clip"
                " where clip = ? or ciphertext_sha256 = ? or (dkey = ? and seq = ?)",
                (header.clip, envelope.seal.sha256, header.dkey, header.seq),
            ).fetchall()
            known = bool(found)
            if known and found != [(header.clip, sha256, found[0][2])]:
                raise Replayed("its id, its ciphertext or its number is another clip's")
            if known and found[0][2]:
                raise Erased("this clip was erased")
            fresh = self._write(self._path(header.owner, header.clip), data)
            if not known:
                self._add(envelope, data, received_s)
            elif fresh:
                _log.warning("the file of an archived clip was missing and is back")
            return not known

    def kept(self, owner: str | None = None) -> Iterator[Kept]:
        """Yield what is here; see ``Store``."""
        with _available(self._folder):
            for row in self._index.execute(
                "select clip, owner, device, seq, t, ttl_s, size_bytes, received_s from clip"
                " where not erased and (?1 is null or owner = ?1) order by t, clip",
                (owner,),
            ):
                yield Kept(*row)

    def expire(self, now_s: int) -> int:
        """Erase what has outlived its retention; see ``Store``."""
        with _available(self._folder):
            overdue = self._index.execute(
                "select clip, owner from clip where not erased and expires_s <= ?", (now_s,)
            ).fetchall()
            for clip, owner in overdue:
                self._erase(clip, owner)
            if overdue:
                # What the rows said must not stay behind in the log of writes.
                self._index.execute("pragma wal_checkpoint(truncate)")
        return len(overdue)

    def mend(self, verify: Callable[[bytes], Envelope]) -> int:
        """Bring files and index together again after a crash.

        Unfinished files go; files without a row get one if they verify, else they are set aside in
        ``quarantine/``; files of erased clips are erased.

        Args:
            verify: as the receiver's; raises ``BadEnvelope``.

        Returns:
            How many rows were made.
        """
        made = 0
        with _available(self._folder):
            rows = self._index.execute("select clip, owner, erased from clip").fetchall()
            erased = {clip for clip, _, gone in rows if gone}
            there = {(owner, clip) for clip, owner, gone in rows if not gone}
            present = set()
            for path in sorted(self._clips.glob("*/*")):
                if path.suffix == _PART:
                    path.unlink()
                elif path.suffix == SUFFIX and path.stem in erased:
                    _overwrite(path)
                elif path.suffix == SUFFIX and (path.parent.name, path.stem) not in there:
                    made += self._adopt(path, verify)
                else:
                    present.add((path.parent.name, path.stem))
            if there - present:
                _log.warning("the files of %d archived clips are missing", len(there - present))
        return made

    def _adopt(self, path: Path, verify: Callable[[bytes], Envelope]) -> bool:
        data = read_envelope(path)
        try:
            envelope = verify(data)
            self._check_place(envelope, path)
            self._add(envelope, data, int(path.stat().st_mtime))
        except (BadEnvelope, Replayed) as error:
            _log.warning("a file in the archive is no clip of it and is set aside: %s", error)
            make_folder(self._folder / "quarantine")
            path.replace(self._folder / "quarantine" / path.name)
            return False
        return True

    def _check_place(self, envelope: Envelope, path: Path) -> None:
        if self._path(envelope.header.owner, envelope.header.clip) != path:
            raise BadEnvelope("it lies where another belongs")

    def _add(self, envelope: Envelope, data: bytes, received_s: int) -> None:
        header = envelope.header
        taken_s = datetime.fromisoformat(header.t).timestamp()
        plausible = received_s - _PLAUSIBLE_S <= taken_s <= received_s
        try:
            self._index.execute(
                "insert into clip values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    header.clip,
                    header.owner,
                    header.device,
                    header.dkey,
                    header.seq,
                    header.t,
                    header.ttl_s,
                    len(data),
                    hashlib.sha256(data).hexdigest(),
                    envelope.seal.sha256,
                    received_s,
                    (int(taken_s) if plausible else received_s) + header.ttl_s,
                ),
            )
        except sqlite3.IntegrityError as error:
            raise Replayed("its id, its ciphertext or its number is another clip's") from error

    def _write(self, path: Path, data: bytes) -> bool:
        """Write a file that no other may replace; return False when it was there already."""
        make_folder(path.parent)
        part = path.with_name(path.name + _PART)
        part.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(part, flags, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            # A link fails where a rename would overwrite.
            os.link(part, path)
        except FileExistsError as error:
            if read_envelope(path) != data:
                raise Replayed("another file lies in its place") from error
            return False
        finally:
            part.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return True

    def _erase(self, clip: str, owner: str) -> None:
        # The row first: a crash in between leaves a file that ``mend`` knows to be erased.
        self._index.execute(
            "update clip set erased = 1, owner = '', device = '', t = '', ttl_s = 0,"
            " size_bytes = 0, received_s = 0, expires_s = 0 where clip = ?",
            (clip,),
        )
        _overwrite(self._path(owner, clip))

    def _path(self, owner: str, clip: str) -> Path:
        return self._clips / owner / (clip + SUFFIX)


def find_envelope(folder: Path, clip: str) -> Path | None:
    """Return the file of a clip in the archive ``folder``, whatever its index says."""
    if not _CLIP.fullmatch(clip):
        return None
    return next(iter(sorted((folder / "clips").glob(f"*/{clip}{SUFFIX}"))), None)


def read_envelope(path: Path) -> bytes:
    """Return a file's bytes, at most one more than an envelope can have.

    Raises:
        OSError: it cannot be read, or it is a symbolic link or no plain file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a plain file")
        return file.read(ENVELOPE_LIMIT_BYTES + 1)


def _overwrite(path: Path) -> None:
    """Overwrite a file and unlink it. Flash keeps copies all the same: only ciphertext was here."""
    with contextlib.suppress(FileNotFoundError):
        with path.open("r+b", buffering=0) as file:
            left = path.stat().st_size
            while left > 0:
                left -= file.write(bytes(min(left, _ZEROS_BYTES)))
            os.fsync(file.fileno())
        path.unlink()


@contextlib.contextmanager
def _available(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot use the archive {folder}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise Unavailable(
            f"cannot use the index of the archive {folder}: {error}",
            "if it is damaged, move it away: it is made again from the clips",
        ) from error
