"""File format of a backup: an uncompressed tar whose last member lists the SHA-256 of the others.

A backup is plain tar (POSIX.1-2001, pax), so that any computer can list it, and ``sha256sum -c
SHA256SUMS`` verifies it after unpacking. The sums reveal damage, not forgery: a backup contains the
household's certificate authority, so a person who can change one controls the household anyway.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol, Self

from listener.errors import EarmarkError
from listener.storage.atomic import (
    SECRET_MODE,
    create_file,
    open_plain_file,
    part_file,
    sync_folder,
    translate_os_errors,
)
from listener.storage.locations import CLIPS, QUARANTINE

SUMS: Final = "SHA256SUMS"
INDEX_MEMBER: Final = "archive/index.sqlite"
CONFIGURATION: Final = "configuration/archive.toml"
"""The archive's configuration, which is not in its data directory; absent in older backups."""
DATABASES: Final = (INDEX_MEMBER, "access.sqlite", "orders.sqlite")
"""SQLite databases in the order in which they are copied: the erasures last."""
MEMBERS: Final = re.compile(
    rf"archive/{CLIPS}/(?P<owner>[a-z0-9-]{{1,32}})/(?P<clip>[0-9a-f-]{{36}})\.earmark"
    rf"|archive/{QUARANTINE}/(?:[a-z0-9-]{{1,32}}|_unknown)/(?!\.{{1,2}}\Z)[!-.0-~]{{1,255}}"
    r"|archive/index\.sqlite|access\.sqlite|orders\.sqlite"
    r"|archive\.key|archive\.pub|roster\.json"
    rf"|{re.escape(CONFIGURATION)}"
    r"|household/(?:ca\.crt|ca\.key|register\.json|crl\.pem|issued/[a-z0-9-]{1,40}\.(?:crt|key))",
    re.ASCII,
)
"""Paths of the files that a backup may contain; but for `CONFIGURATION`, relative to the archive's
data directory."""
_SUM: Final = re.compile(r"([0-9a-f]{64})  (.+)", re.ASCII)
_SUMS_LIMIT_BYTES: Final = 256 << 20
_CHUNK_BYTES: Final = 1 << 20


class BadBackup(EarmarkError):
    """A file that is not a complete, undamaged backup."""


class Hash(Protocol):
    """A hash of ``hashlib``."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Return the digest of all bytes."""


class ByteSource(Protocol):
    """Something that bytes are read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, or all that are left; empty at the end."""


class HashedReader:
    """Reader that hashes what it reads. One thread.

    Args:
        source: the bytes.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._hash: Hash = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """Read as ``source`` does."""
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def hexdigest(self) -> str:
        """Return the SHA-256 of what was read, in hex."""
        return self._hash.hexdigest()


class BackupWriter:
    """Writer of one backup; the file has its name only after `finish`. One thread.

    Args:
        tar: written by this alone; the caller closes it.
    """

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._sums: list[str] = []

    def add(self, name: str, source: ByteSource, size_bytes: int, mtime_s: float) -> None:
        """Add a file.

        Args:
            name: matches `MEMBERS`.
            source: its bytes.
            size_bytes: their number.
            mtime_s: time of the last change, seconds since 1970.

        Raises:
            ValueError: no backup contains a file of this name.
            OSError: the backup cannot be written, or the source ended early.
        """
        if not MEMBERS.fullmatch(name):
            raise ValueError(name)
        reader = HashedReader(source)
        self._add(name, reader, size_bytes, mtime_s)
        self._sums.append(f"{reader.hexdigest()}  {name}\n")

    def finish(self) -> None:
        """Add the sums.

        Raises:
            OSError: the backup cannot be written.
        """
        data = "".join(self._sums).encode()
        self._add(SUMS, io.BytesIO(data), len(data), 0)

    def _add(self, name: str, source: ByteSource, size_bytes: int, mtime_s: float) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = size_bytes, mtime_s, SECRET_MODE
        self._tar.addfile(member, source)


def write_backup(path: Path, fill: Callable[[BackupWriter, Path], None]) -> int:
    """Write a backup durably; return its length in bytes.

    Args:
        path: the new file; never replaced. Its file system needs no hard links and no permissions.
        fill: called with the writer and an unused name on the same file system.

    Raises:
        BadBackup: a file of this name exists.
        Unavailable: it cannot be written.
    """
    with translate_os_errors(path):
        if path.exists() or path.is_symlink():
            raise BadBackup(f"{path} exists already", "choose another name for the backup")
        with part_file(path) as part, part_file(path.with_name(f"{path.name}.sqlite")) as scratch:
            with create_file(part) as file:
                with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                    writer = BackupWriter(tar)
                    fill(writer, scratch)
                    writer.finish()
                length_bytes = file.tell()
            part.rename(path)
        sync_folder(path.parent)
    return length_bytes


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a backup, while it is read."""

    name: str
    mtime_s: float
    size_bytes: int
    content: ByteSource


class _Content:
    """Reader of a file in a tar that may end early."""

    def __init__(self, source: IO[bytes], path: Path) -> None:
        self._source = source
        self._path = path

    def read(self, size: int = -1, /) -> bytes:
        """Read.

        Raises:
            BadBackup: the tar ends.
            Unavailable: it cannot be read.
        """
        with translate_os_errors(self._path):
            try:
                return self._source.read(size)
            except tarfile.TarError as error:
                raise _bad(self._path, "its end is missing") from error


def _bad(path: Path, reason: str) -> BadBackup:
    return BadBackup(
        f"{path} is not a complete backup: {reason}", "use another backup, and check this disk"
    )


class BackupReader:
    """Reader of one backup. One thread; a context manager.

    Args:
        path: the backup.

    Raises:
        Unavailable: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with translate_os_errors(path):
            self._file = open_plain_file(path)

    def __enter__(self) -> Self:
        """Return this reader."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()

    def verify(self) -> dict[str, int]:
        """Read all of it and verify the sums; return the lengths of the files in bytes by name.

        Raises:
            BadBackup: it is incomplete or damaged, or has a file that no backup contains.
            Unavailable: it cannot be read.
        """
        computed: dict[str, str] = {}
        lengths: dict[str, int] = {}
        sums: bytes | None = None
        for member in self._members():
            if sums is not None or member.name in computed:
                raise _bad(self._path, f"{member.name!r} is not in its place")
            if member.name == SUMS:
                if member.size_bytes > _SUMS_LIMIT_BYTES:
                    raise _bad(self._path, f"{SUMS} is too long")
                sums = member.content.read()
                continue
            reader = HashedReader(member.content)
            while reader.read(_CHUNK_BYTES):
                pass
            computed[member.name] = reader.hexdigest()
            lengths[member.name] = member.size_bytes
        if sums is None:
            raise _bad(self._path, "its end is missing")
        lines = sums.decode("utf-8", "replace").splitlines()
        listed = [_SUM.fullmatch(line) for line in lines]
        if [(match[2], match[1]) for match in listed if match] != list(computed.items()):
            raise _bad(self._path, "a file in it is damaged")
        return lengths

    def members(self) -> Iterator[Member]:
        """Yield the files in their order; read the content of each before the next.

        Raises:
            BadBackup: it changed since `verify`.
            Unavailable: it cannot be read.
        """
        return (member for member in self._members() if member.name != SUMS)

    def _members(self) -> Iterator[Member]:
        self._file.seek(0)
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                for member in tar:
                    if not member.isreg() or not (
                        member.name == SUMS or MEMBERS.fullmatch(member.name)
                    ):
                        raise _bad(self._path, f"it contains {member.name!r}")
                    content = tar.extractfile(member)
                    if content is None:
                        raise _bad(self._path, f"it contains {member.name!r}")
                    yield Member(
                        member.name, member.mtime, member.size, _Content(content, self._path)
                    )
        except tarfile.TarError as error:
            raise _bad(self._path, "its end is missing, or it is damaged") from error
        except (ValueError, OverflowError) as error:
            raise _bad(self._path, "it is damaged") from error
        except OSError as error:
            with translate_os_errors(self._path):
                raise OSError(error.errno or 0, error.strerror or str(error)) from error
