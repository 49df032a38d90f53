"""Mute controller: hardware switch, software mute and fault, combined into the gate's one switch.

The microphone is muted while any of the three mutes. Releasing the hardware switch does not clear a
software mute, and no request on the control socket overrides the hardware switch. A request takes
effect in memory first; it is written to disk only after the gate has closed the microphone, so
that a slow disk never delays a mute.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, Generic, Literal, Protocol

from listener.errors import EarmarkError
from listener.hear.mute.state import (
    REASONS,
    AnyRecord,
    FaultReason,
    FaultRecord,
    MuteFile,
    MuteFiles,
    SoftwareMute,
    identify,
)
from listener.hear.mute.switch import Switch
from listener.ipc import control
from listener.ipc.control import Request
from listener.spool.ledger import BootClock

Cause = Literal["open", "hardware", "software", "fault"]

WRITE_PAUSE_S: Final = 1.0
"""Minimum seconds between two writes of the mute state, also after a failed write."""

_log = logging.getLogger(__name__)


class RequestSource(Protocol):
    """A source of mute requests; see `control.ControlSocket`."""

    def fileno(self) -> int:
        """Return the file descriptor to wait on."""

    def receive(self) -> Iterable[Request]:
        """Return the pending requests without blocking."""


class MuteController:
    """A `Switch` that is muted while the hardware, the software or a fault mutes. One thread."""

    def __init__(  # noqa: PLR0913 - the sources of a mute, the policy and three clocks
        self,
        switch: Switch,
        files: MuteFiles,
        requests: RequestSource,
        *,
        remote_unmute: bool,
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
        boot_clock: BootClock,
        announce: Callable[[bytes, bytes], object] = lambda _software, _fault: None,
    ) -> None:
        """Combine the sources of a mute.

        Args:
            switch: the hardware switch, or `NoSwitch`.
            files: the software mute and the fault on disk.
            requests: the requests from the control socket.
            remote_unmute: whether a request may clear the software mute.
            now: wall clock, with a time zone.
            monotonic_s: monotonic clock in seconds.
            boot_clock: clock that ends a mute for a time.
            announce: called with the software mute and the fault that `is_muted` acts on, whenever
                one of them changes; see `hear_locks.HearLocks.apply`.
        """
        self._announce = announce
        self._announced: tuple[SoftwareMute | None, FaultRecord | None] | None = None
        self._switch = switch
        self._files = files
        self._requests = requests
        self._remote_unmute = remote_unmute
        self._now = now
        self._monotonic_s = monotonic_s
        self._boot_clock = boot_clock
        self._software = _Latch(files.software)
        self._fault = _Latch(files.fault)
        self._unsaved_mute = False
        self._unsaved_unmute: SoftwareMute | None = None
        self._unsaved_fault: FaultReason | None = None
        self._write_due_s = float("-inf")
        self._is_write_error_logged = self._is_switch_error_logged = False
        # Without a switch never "hardware": a software mute must not pass for a hardware mute.
        self._cause: Cause = "software" if switch.about == "none" else "hardware"
        self.ignored = 0
        """Number of unmute requests ignored because ``mute.remote_unmute`` is false."""

    @property
    def about(self) -> str:
        """The kind of switch that is fitted."""
        return self._switch.about

    @property
    def cause(self) -> Cause:
        """The cause of the last result of `is_muted`; before the first call, a possible cause.

        Of several causes the first of fault, hardware and software is returned.
        """
        return self._cause

    def filenos(self) -> Sequence[int]:
        """Return the file descriptors of the switch and of the control socket."""
        return (*self._switch.filenos(), self._requests.fileno())

    def is_muted(self, at_sample: int) -> bool:
        """Return whether anything mutes, or did at any moment since the last call."""
        if self._cause != "open":
            # Not before: the gate has closed the microphone since the last call.
            self._save()
        hardware = self._is_switch_muted(at_sample)
        software = self._software.check(is_pending=self._unsaved_mute)
        if self._software.has_changed and not self._software.is_recorded:
            self._unsaved_mute = False  # the command is newer than the unsaved message
        software = self._take_requests() or software
        fault = self._fault.check(is_pending=self._unsaved_fault is not None)
        self._cause = (
            "fault" if fault else "hardware" if hardware else "software" if software else "open"
        )
        records = self._software.record, self._fault.record
        if records != self._announced:
            self._announced = records
            self._announce(identify(records[0]), identify(records[1]))
        return self._cause != "open"

    def set_fault(self, reason: FaultReason) -> None:
        """Mute from the next `is_muted` on, until a person clears the fault."""
        if self._unsaved_fault is None and not self._fault.is_muted:
            _log.error(
                "muted because of a fault: %s (to clear: earmark mute clear-fault)", REASONS[reason]
            )
            self._unsaved_fault = reason

    def _is_switch_muted(self, at_sample: int) -> bool:
        try:
            muted = self._switch.is_muted(at_sample)
        except (OSError, EarmarkError) as error:
            if not self._is_switch_error_logged:
                _log.error("the mute switch cannot be read, so this is muted: %s", error)
            self._is_switch_error_logged = True
            return True
        # The position between the last call and this one is unknown.
        was_lost, self._is_switch_error_logged = self._is_switch_error_logged, False
        return muted or was_lost

    def _take_requests(self) -> bool:
        """Apply the pending requests to memory; return whether one of them was to mute."""
        is_mute_requested = False
        for request in self._requests.receive():
            match request:
                case control.MuteRequest():
                    self._unsaved_mute = is_mute_requested = True
                    self._unsaved_unmute = None
                case control.UnmuteRequest() if self._remote_unmute:
                    self._unsaved_mute = False
                    # Only the current mute: one that comes before the write stays.
                    self._unsaved_unmute = (
                        None if self._has_new_command() else self._software.record
                    )
                case control.UnmuteRequest():
                    self.ignored += 1
                    if self.ignored == 1:
                        _log.warning("an unmute request was ignored: mute.remote_unmute is false")
                case control.Wakeup() | control.ThresholdRequest() | control.WordRequest():
                    pass  # wakes the loop, or is not about mute
        return is_mute_requested

    def _has_new_command(self) -> bool:
        """Return whether a command was written since the last call, perhaps after the request."""
        record = self._software.record
        return self._software.has_changed and record is not None and record.by == "command"

    def _find_ended_pause(self) -> SoftwareMute | None:
        """Return the mute for a time that is recorded and over."""
        record = self._software.record
        if self._software.is_recorded and record is not None and record.is_over(self._boot_clock):
            return record
        return None

    def _save(self) -> None:
        """Write the requests and the fault that are held in memory only, and the end of a pause."""
        over = self._find_ended_pause()
        is_due = (
            self._unsaved_mute
            or self._unsaved_unmute is not None
            or self._unsaved_fault is not None
            or over is not None
        )
        if not is_due or self._monotonic_s() < self._write_due_s:
            return
        self._write_due_s = self._monotonic_s() + WRITE_PAUSE_S
        try:
            if self._unsaved_fault is not None:
                self._files.set_fault(self._now(), self._unsaved_fault)
                self._unsaved_fault = None
            self._save_software(over)
        except EarmarkError as error:
            if not self._is_write_error_logged:
                _log.error(
                    "cannot save the mute state; it will be lost at the next restart: %s", error
                )
            self._is_write_error_logged = True
            return
        self._is_write_error_logged = False

    def _save_software(self, over: SoftwareMute | None) -> None:
        """Write the latest request, or the end of a mute for a time.

        Args:
            over: a mute for a time that has ended.
        """
        if self._unsaved_mute:
            current = self._files.software.read()
            # A newer command that unmutes stays, and so does a mute without end.
            is_replaceable = (
                not current.mutes_without_end
                if current is not None and current.muted
                else current == self._software.record
            )
            if is_replaceable:
                self._files.mute(self._now(), "message", muted=True)
            self._unsaved_mute = False
        elif self._unsaved_unmute is not None:
            if self._unsaved_unmute.muted:
                self._files.unmute(self._now(), "message", ends=self._unsaved_unmute)
            self._unsaved_unmute = None
        elif over is not None:
            self._files.unmute(self._now(), "command", ends=over)


class _Latch(Generic[AnyRecord]):
    """A mute file with memory: muted, or muted at any moment since the last check."""

    def __init__(self, file: MuteFile[AnyRecord]) -> None:
        self._file: MuteFile[AnyRecord] = file
        self._is_error_logged = False
        self._was_checked = False
        self.record: AnyRecord | None = None
        """The record that was read last."""
        self.is_recorded = False
        """Whether that record mutes."""
        self.is_muted = False
        """Whether it mutes now, regardless of earlier moments."""
        self.has_changed = False
        """Whether the record differs from that of the check before."""

    def check(self, *, is_pending: bool) -> bool:
        """Read the file; return whether it mutes or did since the last check.

        Args:
            is_pending: whether a mute is held in memory and is not written yet.
        """
        previous, was_muted = self.record, self.is_muted
        try:
            self.record = self._file.read()
        except EarmarkError as error:
            if not self._is_error_logged:
                _log.error("%s, so this is muted (details: earmark mute status)", error)
            self._is_error_logged = self.is_muted = True
            self.is_recorded = self.has_changed = False
            return True
        self._is_error_logged = False
        self.is_recorded = self.record is not None and self.record.mutes
        self.is_muted = self.is_recorded or is_pending
        # An unmute is only written after a mute, so any other record means that it was muted.
        self.has_changed = self._was_checked and self.record != previous
        self._was_checked = True
        return self.is_muted or was_muted or self.has_changed
