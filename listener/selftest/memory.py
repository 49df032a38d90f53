"""Look through the memory of another process, every page it has."""

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
"""In an entry of pagemap, this bit and the one above say: in swap, in memory."""
_UNREADABLE: Final = frozenset({"[vvar]", "[vvar_vclock]", "[vsyscall]"})
_GONE: Final = frozenset({errno.EIO, errno.EFAULT, errno.ENOMEM})


class Search(Protocol):
    """What is looked for."""

    def find(self, data: bytes) -> FoundBlocks:
        """Return what stands in ``data``."""


@dataclass(slots=True)
class Scan:
    """What one look through one process found."""

    found: FoundBlocks = field(default_factory=FoundBlocks)
    places: dict[str, int] = field(default_factory=dict)
    """Distinct blocks by mapping: ``[heap]``, ``[stack]``, a file, or ``anonymous``."""
    scanned_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """A copy of a process's memory."""

    pieces: Sequence[tuple[str, bytes]]
    """Neighbouring pages in one piece, with the name of their mapping."""

    def scan(self, search: Search) -> Scan:
        """Look through it."""
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
    """Read ``/proc/PID/maps``."""
    regions = []
    for line in text.splitlines():
        span, rights, *rest = line.split(maxsplit=5)
        first, end = (int(part, 16) for part in span.split("-"))
        name = rest[3] if len(rest) > 3 else "anonymous"  # noqa: PLR2004 - after offset, device and inode
        regions.append(Region(first, end, name, "w" in rights))
    return regions


def check_access(pid: int) -> None:
    """Make sure that we may look into a process.

    Raises:
        Unavailable: we may not, or it has ended.
    """
    with _translate_access_errors(pid), (_PROC / str(pid) / "mem").open("rb", 0):
        pass


def snapshot_memory(pid: int) -> MemorySnapshot:
    """Copy every page that a process has, in memory or in swap.

    Left out are pages of files that the process cannot write. Pages that it may not read itself
    are read all the same. Stop the process first, or what moves may be missed; it need not stand
    still for long, a copy takes milliseconds and the search comes later.

    Raises:
        Unavailable: we may not look into it, or it has ended.
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
            f"the memory of process {pid} is closed to this user, as it should be",
            "sudo earmark selftest, or without root:"
            " unshare --user --map-root-user earmark selftest",
        ) from error
    except (FileNotFoundError, ProcessLookupError) as error:
        raise Unavailable(f"process {pid} ended before it was looked at") from error


def _is_file_alone(region: Region) -> bool:
    """Tell whether all that a region can hold is a file's: a program, a library, a font.

    Memory that is shared between processes has the name of a file that was deleted.
    """
    is_file = region.name.startswith("/") and not region.name.endswith(" (deleted)")
    return is_file and not region.can_be_written and not region.name.startswith("/dev/shm/")  # noqa: S108 - a kernel's name for memory


def _pages(region: Region, memory: "_File", pagemap: "_File") -> Iterator[bytes]:
    """Yield the pages that exist, neighbours in one piece."""
    for first, end in _runs(region, pagemap):
        try:
            memory.seek(first)
            yield memory.read(end - first)
        except OSError as error:
            if error.errno not in _GONE:
                raise


def _runs(region: Region, pagemap: "_File") -> list[tuple[int, int]]:
    """Return the stretches of addresses that have pages."""
    page = mmap.PAGESIZE
    pagemap.seek(region.first // page * _PAGE_ENTRY_BYTES)
    raw = pagemap.read((region.end - region.first) // page * _PAGE_ENTRY_BYTES)
    there = np.frombuffer(raw, np.uint64) >> np.uint64(_HAS_PAGE) != 0
    edges = np.flatnonzero(np.diff(there, prepend=False, append=False))
    addresses = [region.first + int(edge) * page for edge in edges]
    return list(zip(addresses[::2], addresses[1::2], strict=True))


class _File(Protocol):
    def seek(self, at: int, /) -> int: ...
    def read(self, count: int, /) -> bytes: ...
