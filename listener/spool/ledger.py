"""What became of the envelopes, and for how long the machine has run: two pages in one small file.

It is written in place, one page after the other, each within a sector and with a checksum: that
needs no room on a full disk, and a power cut costs the last page at most.
"""

import contextlib
import logging
import os
import time
import zlib
from pathlib import Path
from typing import Final, Protocol

import msgspec

from listener.storage import atomic

LEDGER: Final = "counts"

_SLOT_BYTES: Final = 512  # one sector: written whole or not at all on what we run on

_log = logging.getLogger(__name__)


class BootClock(Protocol):
    """How long this machine has been running, whatever the wall clock says."""

    def boot(self) -> str:
        """Return what tells this start of the machine from every other."""

    def running_s(self) -> float:
        """Return the seconds since that start, suspended ones included."""


class KernelClock:
    """The kernel's."""

    def boot(self) -> str:
        """Return the kernel's random id of this boot, or nothing where it is hidden."""
        with contextlib.suppress(OSError):
            return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return ""

    def running_s(self) -> float:
        """Return the seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of the envelopes, ever since the spool exists.

    ``spooled + released == acked + dropped + expired + quarantined + waiting``, but for what one
    crash can leave between a step and its count, and for what expires in the quarantine. A loss is
    counted before it happens, so a crash may count it twice and never not at all.
    """

    spooled: int = 0
    """Put in, durably."""
    acked: int = 0
    """Left because the archive has them."""
    dropped: int = 0
    """Lost to a bound: the oldest went."""
    expired: int = 0
    """Gone because their owner lets none wait for longer."""
    refused: int = 0
    """Never got in: disk full, spool unwritable, larger than the spool."""
    quarantined: int = 0
    """Set aside because they cannot pass."""
    released: int = 0
    """Back from the quarantine."""

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


class _Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One state of the ledger."""

    generation: int = 0
    boot: str = ""
    seen_s: float = 0.0
    lived_s: float = 0.0
    counts: Counts = Counts()


class Ledger:
    """The counts of one spool. Its user holds the folder's lock while calling ``add``.

    What cannot be written is kept, and written with the next count. For one thread.
    """

    def __init__(self, clock: BootClock | None = None) -> None:
        self._clock = clock or KernelClock()
        self._unsaved = Counts()

    def add(self, folder: int, more: Counts, *, durably: bool = False) -> None:
        """Count.

        Args:
            folder: a descriptor of the spool's.
            more: what came to pass.
            durably: whether it must outlive a power cut, and not only this process.
        """
        self._unsaved = self._unsaved.plus(more)
        page = _read_page(folder)
        running_s = self._clock.running_s()
        new = _Page(
            generation=page.generation + 1,
            boot=self._clock.boot(),
            seen_s=running_s,
            lived_s=self._lived_s(page, running_s),
            counts=page.counts.plus(self._unsaved),
        )
        try:
            _write_page(folder, new, durably=durably)
        except OSError as error:
            _log.warning("cannot write the spool's counts: %s", error.strerror)
        else:
            self._unsaved = Counts()

    def count_in_memory(self, more: Counts) -> None:
        """Count in memory, for a folder that cannot be opened now."""
        self._unsaved = self._unsaved.plus(more)

    def counts(self, folder: int | None) -> Counts:
        """Return what was counted, written or not.

        Args:
            folder: a descriptor of the spool's; None where it cannot be opened.
        """
        return self._unsaved if folder is None else _read_page(folder).counts.plus(self._unsaved)

    def running_time_s(self, folder: int) -> float:
        """Return for how long, all starts together, the machine was seen running."""
        return self._lived_s(_read_page(folder), self._clock.running_s())

    def _lived_s(self, page: _Page, running_s: float) -> float:
        same_boot = page.boot == self._clock.boot() and running_s >= page.seen_s
        return page.lived_s + (running_s - page.seen_s if same_boot else running_s)


def _read_page(folder: int) -> _Page:
    """Return the newest page whose checksum holds; an empty one when there is none."""
    newest = _Page()
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(LEDGER, flags, dir_fd=folder)
        try:
            slots = [os.pread(handle, _SLOT_BYTES, place * _SLOT_BYTES) for place in range(2)]
        finally:
            os.close(handle)
    except OSError:
        return newest
    for slot in slots:
        check, _, text = slot.strip().partition(b" ")
        with contextlib.suppress(msgspec.DecodeError):
            if check == _check(text):
                page = msgspec.json.decode(text, type=_Page)
                newest = max(newest, page, key=lambda one: one.generation)
    return newest


def _write_page(folder: int, page: _Page, *, durably: bool) -> None:
    """Overwrite the older of the two slots."""
    text = msgspec.json.encode(page)
    slot = (_check(text) + b" " + text).ljust(_SLOT_BYTES - 1) + b"\n"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(LEDGER, flags, 0o600, dir_fd=folder)
    try:
        if os.fstat(handle).st_size < 2 * _SLOT_BYTES:
            atomic.chown_to_parent(handle, folder)
            with contextlib.suppress(PermissionError):  # whoever made it has done it
                os.fchmod(handle, atomic.shared_mode(folder))
            os.pwrite(handle, b" " * (2 * _SLOT_BYTES), 0)
            durably = True
        os.pwrite(handle, slot, page.generation % 2 * _SLOT_BYTES)
        if durably:
            os.fdatasync(handle)
    finally:
        os.close(handle)


def _check(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)
