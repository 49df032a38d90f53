"""Tell what happened: to whoever reads standard output, and as notices to send."""

import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ, GapReason
from listener.hear import events
from listener.ipc import notices
from listener.ipc.notices import Notice, Sign, Tally


class NoticeSink(Protocol):
    """What takes notices to send; see `notifier.NoticeSender`."""

    def send(self, notice: Notice) -> bool:
        """Hand over a notice without waiting; say whether anybody took it."""


class EventPublisher:
    """Every event goes out once, whole, in the order it was told. Safe for several threads."""

    def __init__(
        self,
        write_line: Callable[[events.Event], object],
        post: NoticeSink,
        sign: Sign,
        on_nobody_reads: Callable[[], object],
    ) -> None:
        """Prepare.

        Args:
            write_line: shows an event; BrokenPipeError when its reader left.
            post: takes notices.
            sign: signs the counters with the device's key.
            on_nobody_reads: called when the reader left.
        """
        self._write_line = write_line
        self._post = post
        self._sign = sign
        self._on_nobody_reads = on_nobody_reads
        self._lock = threading.Lock()
        self.is_unread = False
        """Whether the reader left; nothing is written any more."""
        self._microphone: notices.MicrophoneNotice | None = None
        self.losses = 0
        """How often the device was lost."""
        self.overruns = 0
        """How often it was faster than the ear."""

    def publish(self, event: events.Event) -> None:
        """Show an event, and send the notice that it makes, if it makes one."""
        with self._lock:
            notice = self._microphone_notice(event) or _notice(event)
            if notice is not None:
                self._post.send(notice)
            if self.is_unread:
                return
            try:
                self._write_line(event)
            except BrokenPipeError:
                self.is_unread = True
                self._on_nobody_reads()

    def _microphone_notice(self, event: events.Event) -> notices.MicrophoneNotice | None:
        """Keep the device's state and counts; return them when this event changed them."""
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

    def send_counters(self, tally: Tally) -> None:
        """Send the counters, signed."""
        with self._lock:
            self._post.send(notices.sign_tally(tally, self._sign))

    def publish_end(self, tally: Tally, broken: int) -> None:
        """Send the counters, and tell what became of everything.

        Args:
            tally: at the end.
            broken: how many recordings broke off.
        """
        self.send_counters(tally)
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
            )
        )


def _notice(event: events.Event) -> Notice | None:  # noqa: PLR0911 - one case an event
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
        case events.MutedEvent(cause=cause):
            return notices.MuteNotice(state=cause)
        case events.UnmutedEvent():
            return notices.MuteNotice(state="open")
        case events.EndedEvent():
            return notices.StoppedNotice()
        case _:
            return None
