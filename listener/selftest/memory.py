"""Copy and search every page of another process's memory (proc(5): maps, pagemap, mem)."""

import contextlib
import errno
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from listener.errors import Unavailable
from listener.selftest.watermark import FoundBlocks

_PROC: Final = Path("/proc")
_PAGE_ENTRY_BYTES: Final = 8
_HAS_PAGE: Final = 62
"""Bit of a pagemap entry that is set for a page in swap; the next one is for a page in memory."""
_UNREADABLE: Final = frozenset({"[vvar]", "[vvar_vclock]", "[vsyscall]"})
_GONE: Final = frozenset({errno.EIO, errno.EFAULT, errno.ENOMEM})


class Search(Protocol):
    """Search for a watermark."""

    def find(self, data: bytes) -> FoundBlocks:
        """Return the blocks in ``data``."""


@dataclass(slots=True)
class Scan:
    """Result of a search of one process's memory."""

    found: FoundBlocks = field(default_factory=FoundBlocks)
    places: dict[str, int] = field(default_factory=dict)
    """Distinct blocks by mapping: ``[heap]``, ``[stack]``, a file, or ``anonymous``."""
    scanned_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Copy of a process's memory."""

    pieces: Sequence[tuple[str, bytes]]
    """Name of the mapping and content of each run of adjacent pages."""

    def scan(self, search: Search) -> Scan:
        """Search the copy."""
        result = Scan()
        by_place: dict[str, FoundBlocks] = {}
        for place, data in self.pieces:
            result.scanned_bytes += len(data)
            if found := search.find(data):
                by_place.setdefault(place, FoundBlocks()).merge(found)
                result.found.merge(found)
        result.places = {place: found.count for place, found in by_place.items()}
        return result


@dataclass(frozen=True, slots=True)
class Region:
    """A line of ``/proc/PID/maps``."""

    first: int
    end: int
    name: str
    can_be_written: bool


def parse_maps(text: str) -> list[Region]:
    """Parse ``/proc/PID/maps`` (proc(5))."""
    regions = []
    for line in text.splitlines():
        span, rights, *rest = line.split(maxsplit=5)
        first, end = (int(part, 16) for part in span.split("-"))
        name = rest[3] if len(rest) > 3 else "anonymous"  # noqa: PLR2004 - after offset, device and inode
        regions.append(Region(first, end, name, "w" in rights))
    return regions


def check_access(pid: int) -> None:
    """Check that this process may read the memory of another one.

    Raises:
        Unavailable: it may not, or the other one has ended.
    """
    with _translate_access_errors(pid), (_PROC / str(pid) / "mem").open("rb", 0):
        pass


def snapshot_memory(pid: int) -> MemorySnapshot:
    """Copy every page of a process, in memory or in swap.

    Omitted are pages of files that the process cannot write. Pages that the process itself may not
    read are included. Stop the process first, or data that moves may be missed; a copy takes
    milliseconds.

    Raises:
        Unavailable: the memory may not be read, or the process has ended.
    """
    here = _PROC / str(pid)
    with (
        _translate_access_errors(pid),
        (here / "mem").open("rb", 0) as memory,
        (here / "pagemap").open("rb", 0) as pagemap,
    ):
        regions = parse_maps((here / "maps").read_text("utf-8", "surrogateescape"))
        return MemorySnapshot(
            [
                (region.name, data)
                for region in regions
                if region.name not in _UNREADABLE and not _is_file_alone(region)
                for data in _pages(region, memory, pagemap)
            ]
        )


@contextlib.contextmanager
def _translate_access_errors(pid: int) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise Unavailable(
            f"this user may not read the memory of process {pid}, which is as intended",
            "run sudo earmark selftest, or without root:"
            " unshare --user --map-root-user earmark selftest",
        ) from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Unavailable(
            f"process {pid} ended before its memory was searched", "run the selftest again"
        ) from error


def _is_file_alone(region: Region) -> bool:
    """Return whether a region can only hold a file's content: a program, a library, a font.

    Memory that processes share has the name of a deleted file.
    """
    is_file = region.name.startswith("/") and not region.name.endswith(" (deleted)")
    return is_file and not region.can_be_written and not region.name.startswith("/dev/shm/")  # noqa: S108 - a kernel's name for memory


def _pages(region: Region, memory: "_File", pagemap: "_File") -> Iterator[bytes]:
    """Yield the content of each run of existing pages."""
    for first, end in _runs(region, pagemap):
        try:
            memory.seek(first)
            yield memory.read(end - first)
        except OSError as error:
            if error.errno not in _GONE:
                raise


def _runs(region: Region, pagemap: "_File") -> list[tuple[int, int]]:
    """Return the address ranges that have pages."""
    page = mmap.PAGESIZE
    pagemap.seek(region.first // page * _PAGE_ENTRY_BYTES)
    raw = pagemap.read((region.end - region.first) // page * _PAGE_ENTRY_BYTES)
    has_page = np.frombuffer(raw, np.uint64) >> np.uint64(_HAS_PAGE) != 0
    edges = np.flatnonzero(np.diff(has_page, prepend=False, append=False))
    addresses = [region.first + int(edge) * page for edge in edges]
    return list(zip(addresses[::2], addresses[1::2], strict=True))


class _File(Protocol):
    def seek(self, at: int, /) -> int: ...
    def read(self, count: int, /) -> bytes: ...
