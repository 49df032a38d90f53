"""Suspension of publication: after many refusals in a row, or when the archive defers a clip.

A suspension ends by itself: after each pause one clip is published. If it is acknowledged,
publication goes on; otherwise the next pause is twice as long, up to a limit.
"""

import logging
from typing import Final, Literal

from listener.errors import Unavailable
from listener.spool.queue import Spool

MOST_REFUSALS: Final = 20
"""Refusals in a row, without an acknowledgement in between, after which clips are not at fault."""
_PAUSES_S: Final = {"refusals": (60.0, 3600.0), "deferred": (30.0, 300.0)}

_TEXTS: Final = {
    "refusals": f"the archive refused {MOST_REFUSALS} clips in a row",
    "deferred": "the archive defers them: over its limits for one device, or comparing clocks",
}

Reason = Literal["", "refusals", "deferred"]

_log = logging.getLogger(__name__)


class Suspension:
    """State of publication: running, or suspended for a reason. For one thread.

    The reason is stored in the spool's folder, so that a restart does not quarantine more clips,
    and so that doctor reports it.

    Args:
        spool: the queue.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._refusals = 0
        self._pause_s = 0.0
        self._is_pause_due = False
        self._resume_s = float("-inf")
        self.reason: Reason = ""
        """Why no clip is published; empty if clips are published."""
        self._recorded = spool.suspended()
        if self._recorded == "refusals":
            self.reason = "refusals"
            self._refusals = MOST_REFUSALS

    def may_publish(self, now_s: float) -> bool:
        """Return whether a clip may be published.

        Args:
            now_s: time on the monotonic clock, in seconds.
        """
        if self._is_pause_due:
            self._is_pause_due = False
            self._resume_s = now_s + self._pause_s
        return now_s >= self._resume_s

    def on_stored(self) -> None:
        """End the suspension: the archive acknowledged a clip."""
        self._refusals = 0
        self._pause_s = 0.0
        self._is_pause_due = False
        self._resume_s = float("-inf")
        if self.reason:
            _log.info("the archive acknowledges clips again")
        self._set_reason("")

    def on_refused(self) -> bool:
        """Count a refusal; return whether the clip shall stay in the spool."""
        is_suspended = self._refusals >= MOST_REFUSALS
        self._refusals += 1
        if self._refusals >= MOST_REFUSALS:
            self._pause("refusals")
        return is_suspended

    def on_deferred(self) -> None:
        """Pause: the archive accepts no further clip of this device for now.

        A suspension after refusals stays one: otherwise a deferral in between, and a restart, would
        permit as many refusals again.
        """
        self._pause("refusals" if self.reason == "refusals" else "deferred")

    def _pause(self, reason: Reason) -> None:
        first_s, longest_s = _PAUSES_S[reason]
        grown_s = 2 * self._pause_s if reason == self.reason else first_s
        self._pause_s = min(longest_s, max(first_s, grown_s))
        self._is_pause_due = True
        if reason != self.reason:
            _log.warning("publication of clips is suspended: %s", _TEXTS[reason])
        self._set_reason(reason)

    def _set_reason(self, reason: Reason) -> None:
        self.reason = reason
        if reason == self._recorded:
            return
        try:
            self._spool.set_suspended(reason)
            self._recorded = reason
        except Unavailable as error:
            _log.warning("cannot record the suspension: %s", error)
