"""Ledger of the spool: counts of envelopes by outcome, and the machine's running time.

One file of two pages, written in turn and in place, each within a disk sector and with a CRC-32:
this needs no space on a full disk, and a power cut loses the last page at most.
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
    """Clock of the machine's uptime, independent of the wall clock."""

    def boot(self) -> str:
        """Return an id of this boot."""

    def running_s(self) -> float:
        """Return the seconds since boot, suspended time included."""


class KernelClock:
    """Boot id and boot clock of the Linux kernel."""

    def boot(self) -> str:
        """Return the kernel's random id of this boot, or an empty string where it is hidden."""
        with contextlib.suppress(OSError):
            return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return ""

    def running_s(self) -> float:
        """Return the seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts of envelopes by outcome, since the spool exists.

    ``spooled == acked + erased + dropped + expired + waiting + in quarantine now``, except for a
    crash between a step and its count.
    A loss is counted before it happens, so a crash may count it twice but never omit it.
    """

    spooled: int = 0
    """Stored durably."""
    acked: int = 0
    """Acknowledged by the archive."""
    erased: int = 0
    """Deleted because the archive answered that their owner had erased them, quarantined ones too.
    Ledgers of earlier versions lack this count."""
    dropped: int = 0
    """Dropped as the oldest over a limit, of the spool or of its quarantine."""
    expired: int = 0
    """Deleted at their owner's retention limit."""
    refused: int = 0
    """Not stored: disk full, spool not writable, or larger than the spool."""
    quarantined: int = 0
    """Moved to the quarantine."""
    released: int = 0
    """Moved back from the quarantine."""

    def plus(self, other: "Counts") -> "Counts":
        """Return the sums."""
        return Counts(
            **{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__}
        )


class _Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State of the ledger."""

    generation: int = 0
    boot: str = ""
    seen_s: float = 0.0
    lived_s: float = 0.0
    counts: Counts = Counts()


class Ledger:
    """Counts of one spool. The caller holds the folder's lock during ``add``. For one thread.

    Counts that cannot be written stay in memory and are written with the next ones.
    """

    def __init__(self, clock: BootClock | None = None) -> None:
        self._clock = clock or KernelClock()
        self._unsaved = Counts()

    def add(self, folder: int, more: Counts, *, durably: bool = False) -> None:
        """Add counts and write the ledger.

        Args:
            folder: a descriptor of the spool's folder.
            more: counts to add.
            durably: whether to wait until they are on the disk.
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
        """Add counts in memory, while the folder cannot be opened."""
        self._unsaved = self._unsaved.plus(more)

    def counts(self, folder: int | None) -> Counts:
        """Return all counts, written or not.

        Args:
            folder: a descriptor of the spool's folder; None if it cannot be opened.
        """
        return self._unsaved if folder is None else _read_page(folder).counts.plus(self._unsaved)

    def running_time_s(self, folder: int) -> float:
        """Return the machine's observed running time over all boots, in seconds."""
        return self._lived_s(_read_page(folder), self._clock.running_s())

    def _lived_s(self, page: _Page, running_s: float) -> float:
        same_boot = page.boot == self._clock.boot() and running_s >= page.seen_s
        return page.lived_s + (running_s - page.seen_s if same_boot else running_s)


def _read_page(folder: int) -> _Page:
    """Return the newest page with a valid checksum, or an empty page."""
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
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            if check == _check(text):
                page = msgspec.json.decode(text, type=_Page)
                newest = max(newest, page, key=lambda item: item.generation)
    return newest


def _write_page(folder: int, page: _Page, *, durably: bool) -> None:
    """Overwrite the older of the two slots."""
    fields = msgspec.to_builtins(page)
    if page.counts.erased == 0:
        # An earlier version, to which an update may be rolled back, refuses unknown fields.
        del fields["counts"]["erased"]
    text = msgspec.json.encode(fields)
    slot = (_check(text) + b" " + text).ljust(_SLOT_BYTES - 1) + b"\n"
    # Without O_NONBLOCK, a lease of another process on its file (fcntl(2)) delays this for 45 s.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(LEDGER, flags, 0o600, dir_fd=folder)
    try:
        if os.fstat(handle).st_size < 2 * _SLOT_BYTES:
            atomic.chown_to_parent(handle, folder)
            with contextlib.suppress(PermissionError):  # the owner of the file has done it
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
