"""Mute: the switch in hardware, the software mute and the fault, as the one switch of the gate.

It is shut while any of them is. Software can mute more, never less: releasing the switch clears no
software mute, and nothing said over a socket opens what the switch has shut. Memory is shut before
the disk is asked: what must outlast a restart is written once the gate has shut the microphone.
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
    MuteFile,
    MuteFiles,
    SoftwareMute,
)
from listener.hear.mute.switch import Switch
from listener.ipc import control
from listener.ipc.control import Request

Cause = Literal["open", "hardware", "software", "fault"]

WRITE_PAUSE_S: Final = 1.0
"""At most so often a message, or a disk that fails, makes hear write."""

_log = logging.getLogger(__name__)


class RequestSource(Protocol):
    """Where requests come in; see `control.ControlSocket`."""

    def fileno(self) -> int:
        """Return the descriptor, to wait on."""

    def receive(self) -> Iterable[Request]:
        """Take the requests that wait, without waiting for any."""


class MuteController:
    """A `mute.Switch` that is shut while anything mutes. One thread."""

    def __init__(  # noqa: PLR0913 - what mutes, who may take it back, and two clocks
        self,
        switch: Switch,
        lasting: MuteFiles,
        requests: RequestSource,
        *,
        remote_unmute: bool,
        now: Callable[[], datetime],
        monotonic_s: Callable[[], float],
    ) -> None:
        """Join what mutes.

        Args:
            switch: in hardware, or that none is fitted.
            lasting: the software mute and the fault.
            requests: from the control socket.
            remote_unmute: whether a request may take back a software mute.
            now: the wall clock with its time zone.
            monotonic_s: a clock in seconds that never goes back.
        """
        self._switch = switch
        self._lasting = lasting
        self._requests = requests
        self._remote_unmute = remote_unmute
        self._now = now
        self._monotonic_s = monotonic_s
        self._software = _Latch(lasting.software)
        self._fault = _Latch(lasting.fault)
        self._mutes = False
        self._takes_back: SoftwareMute | None = None
        self._found: FaultReason | None = None
        self._write_due_s = float("-inf")
        self._is_write_said = self._is_switch_said = False
        # Never "hardware" where there is none: nobody may take software for a switch.
        self._cause: Cause = "software" if switch.about == "none" else "hardware"
        self.ignored = 0
        """Requests to unmute that the settings do not allow."""

    @property
    def about(self) -> str:
        """What kind of switch is fitted."""
        return self._switch.about

    @property
    def cause(self) -> Cause:
        """What the last answer of `is_muted` was for; before the first, what might mute.

        A fault is named before the switch, and the switch before the software: who releases what
        is named finds the next.
        """
        return self._cause

    def filenos(self) -> Sequence[int]:
        """Return the switch's and the control socket's."""
        return (*self._switch.filenos(), self._requests.fileno())

    def is_muted(self, at_sample: int) -> bool:
        """Tell whether anything mutes, or did at any moment since the last question."""
        if self._cause != "open":
            # Only now: since the last answer the gate has shut the microphone.
            self._save()
        hardware = self._is_switch_shut(at_sample)
        software = self._software.check(is_pending=self._mutes)
        if self._software.has_changed:
            self._mutes = False  # a person wrote later than the message that waits for the disk
        software = self._take_requests() or software
        fault = self._fault.check(is_pending=self._found is not None)
        self._cause = (
            "fault" if fault else "hardware" if hardware else "software" if software else "open"
        )
        return self._cause != "open"

    def set_fault(self, reason: FaultReason) -> None:
        """Note a contradiction: shut from the next question on, until a person clears it."""
        if self._found is None and not self._fault.is_muted:
            _log.error("muted, for a fault: %s; earmark mute clear-fault", REASONS[reason])
            self._found = reason

    def _is_switch_shut(self, at_sample: int) -> bool:
        try:
            shut = self._switch.is_muted(at_sample)
        except (OSError, EarmarkError) as error:
            if not self._is_switch_said:
                _log.error("the mute switch cannot be read, so this is muted: %s", error)
            self._is_switch_said = True
            return True
        # Nobody knows what was between the last answer and this one.
        was_lost, self._is_switch_said = self._is_switch_said, False
        return shut or was_lost

    def _take_requests(self) -> bool:
        """Note what is asked; tell whether anybody asked to mute."""
        was_told = False
        for request in self._requests.receive():
            match request:
                case control.MuteRequest():
                    self._mutes = was_told = True
                    self._takes_back = None
                case control.UnmuteRequest() if self._remote_unmute:
                    self._mutes = False
                    # This mute and no later one, should the disk take its time.
                    self._takes_back = None if self._has_new_command() else self._software.record
                case control.UnmuteRequest():
                    self.ignored += 1
                    if self.ignored == 1:
                        _log.warning("a message to unmute is ignored: mute.remote_unmute is false")
                case control.Wakeup():
                    pass  # being woken by it was the point
        return was_told

    def _has_new_command(self) -> bool:
        """Tell whether a command came since the last question: perhaps after any message."""
        record = self._software.record
        return self._software.has_changed and record is not None and record.by == "command"

    def _save(self) -> None:
        """Make lasting what was asked by message and what was found."""
        is_due = self._mutes or self._takes_back is not None or self._found is not None
        if not is_due or self._monotonic_s() < self._write_due_s:
            return
        self._write_due_s = self._monotonic_s() + WRITE_PAUSE_S
        try:
            if self._found is not None:
                self._lasting.set_fault(self._now(), self._found)
                self._found = None
            if self._mutes:
                if self._lasting.software.read() == self._software.record and not (
                    self._software.is_recorded
                ):
                    self._lasting.mute(self._now(), "message", muted=True)
                self._mutes = False
            elif self._takes_back is not None:
                if self._takes_back == self._lasting.software.read() and self._takes_back.muted:
                    self._lasting.mute(self._now(), "message", muted=False)
                self._takes_back = None
        except EarmarkError as error:
            if not self._is_write_said:
                _log.error(
                    "what mutes cannot be written, and would not outlast a restart: %s", error
                )
            self._is_write_said = True
            return
        self._is_write_said = False


class _Latch(Generic[AnyRecord]):
    """Whether a file mutes, or did at any moment since it was asked."""

    def __init__(self, file: MuteFile[AnyRecord]) -> None:
        self._file: MuteFile[AnyRecord] = file
        self._is_said = False
        self._was_asked = False
        self.record: AnyRecord | None = None
        """What the file said last."""
        self.is_recorded = False
        """Whether that mutes."""
        self.is_muted = False
        """Whether it mutes now, the moments before left aside."""
        self.has_changed = False
        """Whether it says something else than when it was asked before."""

    def check(self, *, is_pending: bool) -> bool:
        """Look at the file.

        Args:
            is_pending: whether something mutes that the file does not say yet.
        """
        before, was_shut = self.record, self.is_muted
        try:
            self.record = self._file.read()
        except EarmarkError as error:
            if not self._is_said:
                _log.error("%s, so this is muted; earmark mute status", error)
            self._is_said = self.is_muted = True
            self.is_recorded = self.has_changed = False
            return True
        self._is_said = False
        self.is_recorded = self.record is not None and self.record.mutes
        self.is_muted = self.is_recorded or is_pending
        # Nobody writes that nothing mutes unless something did: another record is an edge.
        self.has_changed = self._was_asked and self.record != before
        self._was_asked = True
        return self.is_muted or was_shut or self.has_changed
