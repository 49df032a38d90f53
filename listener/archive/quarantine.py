"""Quarantine of the archive: files that do not verify, by the owner that their header names.

Their signature is not valid for the roster, so they are never listed, played or exported. But the
owner's key may decrypt them: they are erased and expire like clips. An unverified header is enough
to destroy a file, and for nothing else.
"""

import contextlib
import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from listener.archive.files import SUFFIX, read_envelope_file
from listener.envelope.format import (
    HEADER_LIMIT_BYTES,
    MAGIC,
    PublicHeader,
    format_timestamp,
    parse_header,
)
from listener.errors import BadEnvelope
from listener.storage.atomic import make_folder, sync_folder
from listener.storage.locations import QUARANTINE, UNKNOWN_OWNER, walk

UNKNOWN_TTL_S: Final = 30 * 86_400
"""Retention of a file without a readable header, from its arrival."""
_PLAUSIBLE_S: Final = 8 * 86_400
"""As in the index: an older time than this at the arrival is that of a wrong clock."""
_DAY_S: Final = 86_400
_LATEST_S: Final = 253_402_300_799  # the last second that a datetime can have
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A file in the quarantine, as its unverified header describes it."""

    path: Path
    owner: str
    """Name of its folder."""
    data: bytes
    arrived_s: float
    """Time of its arrival in the archive, seconds since 1970."""
    header: PublicHeader | None

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the file."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def clip(self) -> str:
        """Id of the clip by header or name; without either, one derived from the content."""
        if self.header is not None:
            return self.header.clip
        named = _UUID.match(self.path.name)
        return named[0] if named else str(uuid.UUID(hex=self.sha256[:32]))

    @property
    def home_folder(self) -> str:
        """Name of the folder where it belongs."""
        return self.owner if self.header is None else self.header.owner

    def has_id(self, clips: set[str]) -> bool:
        """Return whether its header or its name has one of these ids."""
        named = _UUID.match(self.path.name)
        return self.clip in clips or (named is not None and named[0] in clips)

    def is_within(self, span: tuple[str, str], device: str | None) -> bool:
        """Return whether it was made in a span of time and, if given, by a device.

        Args:
            span: first time (inclusive) and last time (exclusive), as in envelope headers. A file
                without a header counts at its arrival.
            device: name of the device; a file without a header is of none.
        """
        if self.header is not None:
            t = self.header.t
        else:
            t = format_timestamp(datetime.fromtimestamp(self.arrived_s, UTC))
        made_by = None if self.header is None else self.header.device
        return span[0] <= t < span[1] and device in {None, made_by}

    def expires_s(self, days: int | None) -> float:
        """Return the time of its expiry, in seconds since 1970.

        Args:
            days: the owner's retention limit in days, if any.
        """
        start_s, ttl_s = self.arrived_s, UNKNOWN_TTL_S
        if self.header is not None:
            made_s = datetime.fromisoformat(self.header.t).timestamp()
            start_s = made_s if 0 <= self.arrived_s - made_s <= _PLAUSIBLE_S else self.arrived_s
            ttl_s = self.header.ttl_s
        return start_s + min(ttl_s, ttl_s if days is None else days * _DAY_S)


@dataclass(frozen=True, slots=True)
class ErasedFile:
    """A file of the quarantine that was erased."""

    clip: str
    device: str | None
    """Device by its unverified header, if it had one."""
    sha256: str


class Quarantine:
    """Folder ``quarantine/<owner>/`` of an archive. The caller holds the store's lock.

    Args:
        archive: the archive's folder.

    Raises:
        OSError: from each method, if a folder or file cannot be used.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    def put(self, path: Path) -> Path:
        """Move a file of the archive here; return its new path.

        Args:
            path: a regular file in an owner's folder, whose name counts if it has no header.
        """
        return self._move(_read(path, path.parent.name))

    def files(self, owner: str | None = None) -> Iterator[QuarantinedFile]:
        """Yield the files of one owner, or all of them; skip what cannot be read.

        Args:
            owner: name of the owner.
        """
        for path in sorted(walk(self._archive, QUARANTINE, owner)):
            try:
                yield _read(path, path.parent.name)
            except FileNotFoundError:
                continue
            except OSError as error:
                _log.warning("cannot read a file in the quarantine: %s", error.strerror)

    def shift_arrivals(self, by_s: int) -> None:
        """Add seconds to the times of arrival, when the archive corrects its clock."""
        for path in walk(self._archive, QUARANTINE):
            # The clock is corrected already: a file of another user must not undo that.
            with contextlib.suppress(OSError):
                arrived_s = path.stat().st_mtime + by_s
                os.utime(path, (arrived_s, arrived_s))

    def newest_arrival(self) -> int | None:
        """Return the latest arrival of a file, seconds since 1970; None without files."""
        newest_s = None
        for path in walk(self._archive, QUARANTINE):
            with contextlib.suppress(FileNotFoundError):
                newest_s = max(newest_s or 0, int(_arrived_s(path)))
        return newest_s

    def count(self, owner: str | None = None) -> int:
        """Return the number of an owner's files, or of all."""
        return sum(1 for _ in walk(self._archive, QUARANTINE, owner))

    def sort(self) -> int:
        """Move files that are in a wrong folder to their owner's; return their number.

        Earlier versions used no folders for owners.
        """
        moved = 0
        top = self._archive / QUARANTINE
        with contextlib.suppress(FileNotFoundError):
            for item in sorted(top.iterdir()):
                if item.is_file() and not item.is_symlink():
                    self._move(_read(item, UNKNOWN_OWNER))
                    moved += 1
        for file in self.files():
            if file.home_folder != file.owner:
                self._move(file)
                moved += 1
        return moved

    def _move(self, file: QuarantinedFile) -> Path:
        folder = self._archive / QUARANTINE / file.home_folder
        make_folder(folder)
        target = folder / file.path.name
        number = 0
        while os.path.lexists(target):
            number += 1
            target = folder / f"{file.path.name.removesuffix(SUFFIX)}.{number}{SUFFIX}"
        file.path.rename(target)
        sync_folder(folder)
        sync_folder(file.path.parent)
        return target


def describe_file(path: Path, owner: str, data: bytes, arrived_s: float) -> QuarantinedFile:
    """Return a file of the quarantine with its unverified header.

    Args:
        path: where it is.
        owner: name of its folder.
        data: its bytes.
        arrived_s: time of its arrival, seconds since 1970.
    """
    return QuarantinedFile(path, owner, data, arrived_s, _parse_header(data))


def _read(path: Path, owner: str) -> QuarantinedFile:
    return describe_file(path, owner, read_envelope_file(path), _arrived_s(path))


def _arrived_s(path: Path) -> float:
    """Return a file's modification time, within what a date can be."""
    return min(max(0.0, path.stat().st_mtime), _LATEST_S)


def _parse_header(data: bytes) -> PublicHeader | None:
    """Return the header line of a file, unverified, whatever follows it; None if it has none."""
    if not data.startswith(MAGIC):
        return None
    line = data[len(MAGIC) : len(MAGIC) + HEADER_LIMIT_BYTES + 1].partition(b"\n")[0]
    try:
        return parse_header(line)
    except BadEnvelope:
        return None
