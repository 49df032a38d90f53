"""Tell what happened: to whoever reads standard output, and as notices to send."""

import threading
from collections.abc import Callable
from typing import Protocol

from listener import notices
from listener.hear import report
from listener.notices import Notice, Sign, Tally


class Post(Protocol):
    """What takes notices to send; see `notices.Notifier`."""

    def send(self, notice: Notice) -> bool:
        """Hand over a notice without waiting; say whether anybody took it."""


class Herald:
    """Every event goes out once, whole, in the order it was told. Safe for several threads."""

    def __init__(
        self,
        write_line: Callable[[report.Event], object],
        post: Post,
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

    def tell(self, event: report.Event) -> None:
        """Show an event, and send the notice that it makes, if it makes one."""
        with self._lock:
            notice = _notice(event)
            if notice is not None:
                self._post.send(notice)
            if self.is_unread:
                return
            try:
                self._write_line(event)
            except BrokenPipeError:
                self.is_unread = True
                self._on_nobody_reads()

    def count(self, tally: Tally) -> None:
        """Send the counters, signed."""
        with self._lock:
            self._post.send(notices.signed(tally, self._sign))


def _notice(event: report.Event) -> Notice | None:  # noqa: PLR0911 - one case an event
    match event:
        case report.Started(thresholds=thresholds):
            fits = len(thresholds) <= notices.MOST_WORDS
            return notices.Started(thresholds=thresholds if fits else {})
        case report.Wake():
            return notices.Wake(word=event.word, score=event.score)
        case report.NearMiss():
            return notices.NearMiss(word=event.word, score=event.score)
        case report.Sealed():
            return notices.Spooled()
        case report.Muted():
            return notices.Mute(state="hardware")
        case report.Unmuted():
            return notices.Mute(state="open")
        case report.Ended():
            return notices.Stopped()
        case _:
            return None
