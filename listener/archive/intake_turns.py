"""Turns of several archives that all receive every clip: one stores it, the others wait.

Uniqueness does not depend on it: the database refuses a second row. The turns save the work of
storing each clip once in every process. The id of a clip determines the order of the archives. The
first stores the clip at once. Each later one waits a pause longer, and drops the clip when it sees
the answer of another; without an answer, because that archive hangs or was killed, it stores the
clip.

A clip that waited for its turn in a broker's queue shows how long an archive lags behind; then the
pause is longer, and answers are subscribed to with QoS 0, which no queue delays. So an answer may
be seen before its clip.
"""

import hashlib
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from listener.mqtt import topics
from listener.mqtt.client import Message

PAUSE_S: Final = 1.0
"""Time for which an archive waits for the answer of the one before it."""
MOST_BYTES: Final = 32 << 20
"""Clips that wait in memory. The oldest are dropped beyond it: their speakers send them again."""

_MOST_ANSWERS: Final = 10_000
"""Answers of others that are remembered."""

Source = TypeVar("Source")
"""What a message came from: the connection to a broker."""


@dataclass(frozen=True, slots=True)
class _Held(Generic[Source]):
    source: Source
    message: Message
    sha256: str
    since_s: float
    due_s: float

    def with_pause(self, now_s: float) -> tuple[Source, Message]:
        """Return source and message; what the clip waited here counts as waiting, too.

        Otherwise it would seem to have been made later than it was, after an order to erase.
        """
        held_s = int(now_s - self.since_s)
        unread_since_s = self.message.unread_since_s
        return self.source, replace(
            self.message,
            waited_s=self.message.waited_s + held_s,
            # The time in between is not unknown, as that in a connection is.
            unread_since_s=None if unread_since_s is None else unread_since_s + held_s,
        )


class IntakeTurns(Generic[Source]):
    """Clips whose turn is another archive's. For one thread.

    Args:
        instance: number of this archive, from 1 on.
        instances: number of archives.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self, instance: int, instances: int, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._instance = instance
        self._instances = instances
        self._monotonic_s = monotonic_s
        self._held: OrderedDict[tuple[str, Source], _Held[Source]] = OrderedDict()
        self._held_bytes = 0
        self._answers: OrderedDict[tuple[str, Source], tuple[str, float]] = OrderedDict()
        """SHA-256 and time of the answers to clips that are not held."""
        self.left_to_others = 0
        """Clips that another archive answered."""
        self.taken_over = 0
        """Clips that no other archive answered in time."""

    def is_own(self, source: Source, message: Message) -> bool:
        """Return whether this archive stores a clip now; otherwise hold it.

        Args:
            source: where it came from.
            message: received on a clip topic.
        """
        levels = topics.CLIP.levels(message.topic)
        if levels is None:
            return True
        clip = levels["clip"]
        place = (zlib.crc32(clip.encode("ascii")) + self._instance) % self._instances
        if place == 0:
            return True
        sha256 = hashlib.sha256(message.payload).hexdigest()
        now_s = self._monotonic_s()
        kept_s = topics.kept_s(message.left_s)
        self._drop((clip, source))
        if self._is_answered((clip, source), sha256, now_s - kept_s - PAUSE_S):
            self.left_to_others += 1
            return False
        due_s = now_s + place * (PAUSE_S + 2 * kept_s)
        self._held[clip, source] = _Held(source, message, sha256, now_s, due_s)
        self._held_bytes += len(message.payload)
        while self._held_bytes > MOST_BYTES:
            self._drop(next(iter(self._held)))
        return False

    def on_answer(self, source: Source, message: Message) -> None:
        """Drop the clip that another archive has answered at the same broker.

        Args:
            source: where the answer came from.
            message: received on an acknowledgement topic; any payload is safe.
        """
        levels = topics.ACK.levels(message.topic)
        answer = topics.parse_answer(message.payload)
        if levels is None or answer is None:
            return
        held = self._held.get((levels["clip"], source))
        if held is None:
            self._answers.pop((levels["clip"], source), None)
            self._answers[levels["clip"], source] = (answer.sha256, self._monotonic_s())
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
        elif held.sha256 == answer.sha256:
            self._drop((levels["clip"], source))
            self.left_to_others += 1

    def take_due(self) -> list[tuple[Source, Message]]:
        """Remove and return the clips that no other archive has answered in time."""
        now_s = self._monotonic_s()
        due = [key for key, held in self._held.items() if held.due_s <= now_s]
        taken = [self._held[key].with_pause(now_s) for key in due]
        for key in due:
            self._drop(key)
        self.taken_over += len(taken)
        return taken

    def _is_answered(self, key: tuple[str, Source], sha256: str, published_s: float) -> bool:
        """Return whether another archive answered a clip after its publication."""
        seen = self._answers.pop(key, None)
        return seen is not None and seen[0] == sha256 and seen[1] >= published_s

    def _drop(self, key: tuple[str, Source]) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._held_bytes -= len(held.message.payload)
