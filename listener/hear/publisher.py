"""Publisher of events: on standard output, and as notices to the send process."""

import threading
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import UNSET

from listener.audio.pcm import SAMPLE_RATE_HZ, GapReason
from listener.hear import events
from listener.ipc import notices
from listener.ipc.notices import AttributionNotice, Notice, Sign, Tally


class NoticeSink(Protocol):
    """Destination of notices; see `ipc.notice_socket.NoticeSender`."""

    def send(self, notice: Notice) -> bool:
        """Send a notice without blocking; return True if a reader accepted it."""


class EventPublisher:
    """Publisher of each event exactly once, in order. Safe for use by several threads."""

    def __init__(
        self,
        write_line: Callable[[events.Event], object],
        sink: NoticeSink,
        sign: Sign,
        on_reader_gone: Callable[[], object],
    ) -> None:
        """Start without a microphone and without losses.

        Args:
            write_line: writes an event; raises BrokenPipeError when the reader has closed.
            sink: takes notices.
            sign: signs the counters with the device's key.
            on_reader_gone: called once, when the reader has closed.
        """
        self._write_line = write_line
        self._sink = sink
        self._sign = sign
        self._on_reader_gone = on_reader_gone
        self._lock = threading.Lock()
        self.is_unread = False
        """True after the reader has closed; no more events are written."""
        self._microphone: notices.MicrophoneNotice | None = None
        self.losses = 0
        """Times that the device was lost."""
        self.overruns = 0
        """Audio overruns of the device."""

    def publish(self, event: events.Event) -> None:
        """Write an event, and send its notice if it has one."""
        with self._lock:
            notice = self._microphone_notice(event) or _notice(event)
            if notice is not None:
                self._sink.send(notice)
            if self.is_unread:
                return
            try:
                self._write_line(event)
            except BrokenPipeError:
                self.is_unread = True
                self._on_reader_gone()

    def _microphone_notice(self, event: events.Event) -> notices.MicrophoneNotice | None:
        """Update the state and counts of the device; return them if this event changed them."""
        before = self._microphone
        match event:
            case events.MicrophoneOpenEvent():
                after = notices.MicrophoneNotice(state="open")
            case events.MicrophoneLostEvent(cause=cause):
                self.losses += before is None or before.state == "open"
                after = notices.MicrophoneNotice(state="lost", cause=cause.value)
            case events.InterruptedEvent(reason=GapReason.OVERRUN) if before is not None:
                self.overruns += 1
                after = before
            case _:
                return None
        self._microphone = msgspec.structs.replace(
            after, losses=self.losses, overruns=self.overruns
        )
        return self._microphone

    def notify(self, notice: Notice) -> None:
        """Send a notice that belongs to no event."""
        with self._lock:
            self._sink.send(notice)

    def send_counters(self, tally: Tally, voices: AttributionNotice | None = None) -> None:
        """Send the signed counters.

        Args:
            tally: the counters.
            voices: counts of voices without an owner; None where no voice is compared.
        """
        with self._lock:
            self._sink.send(notices.sign_tally(tally, self._sign))
            if voices is not None:
                self._sink.send(voices)

    def publish_end(
        self, tally: Tally, broken: int, voices: AttributionNotice | None = None
    ) -> None:
        """Send the signed counters, and publish the `EndedEvent`.

        Args:
            tally: final counters.
            broken: number of recordings that could not be read to their end.
            voices: as for `send_counters`.
        """
        self.send_counters(tally, voices)
        self.publish(
            events.EndedEvent(
                heard_s=tally.heard_samples / SAMPLE_RATE_HZ,
                discarded_s=tally.discarded_samples / SAMPLE_RATE_HZ,
                sealed_s=tally.sealed_samples / SAMPLE_RATE_HZ,
                muted_s=tally.muted_samples / SAMPLE_RATE_HZ,
                wakes=tally.wakes,
                near_misses=tally.near_misses,
                sealed=tally.sealed,
                unattributed=tally.unattributed,
                abandoned=tally.abandoned,
                lost=tally.lost,
                broken=broken,
                losses=self.losses,
                overruns=self.overruns,
                guests=UNSET if voices is None else voices.guests,
                unsure=UNSET if voices is None else voices.unsure,
                bystanders=UNSET if voices is None else voices.bystanders,
            )
        )


def _notice(event: events.Event) -> Notice | None:  # noqa: PLR0911 - one case per event
    match event:
        case events.StartedEvent(thresholds=thresholds, switch=switch):
            fits = len(thresholds) <= notices.MOST_THRESHOLDS
            return notices.StartedNotice(thresholds=thresholds if fits else {}, switch=switch)
        case events.WakeEvent():
            return notices.WakeNotice(word=event.word, score=event.score)
        case events.NearMissEvent():
            return notices.NearMissNotice(word=event.word, score=event.score)
        case events.SealedEvent():
            return notices.SpooledNotice()
        case events.CommandEvent(end=end):
            return notices.CommandNotice(end=end)
        case events.MutedEvent(cause=cause):
            return notices.MuteNotice(state=cause)
        case events.UnmutedEvent():
            return notices.MuteNotice(state="open")
        case events.EndedEvent():
            return notices.StoppedNotice()
        case _:
            return None
