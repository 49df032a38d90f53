"""Erased clips that are still to be published to their devices, in turn by owner."""

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST_CLIPS_PER_OWNER: Final = 20_000
"""A device learns of the others when it offers the clip."""


@dataclass(frozen=True, slots=True)
class ErasedClip:
    """An erased clip that its device's spool may still hold."""

    owner: str
    device: str
    clip: str
    sha256: str


class ErasedClips:
    """Queue with a part for each owner, so that none displaces or delays another's clips.

    Safe for several threads.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[ErasedClip]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._queues.values()))

    def __iter__(self) -> Iterator[ErasedClip]:
        with self._lock:
            return iter([clip for queue in self._queues.values() for clip in queue])

    def append(self, clip: ErasedClip) -> None:
        """Add a clip; the oldest of the same owner gives way where there are too many."""
        with self._lock:
            queue = self._queues.setdefault(clip.owner, deque(maxlen=MOST_CLIPS_PER_OWNER))
            queue.append(clip)

    def popleft(self) -> ErasedClip:
        """Remove and return the oldest clip of the owner whose turn it is.

        Raises:
            IndexError: the queue is empty.
        """
        with self._lock:
            if not self._queues:
                raise IndexError("no erased clip is queued")
            owner, queue = self._queues.popitem(last=False)
            clip = queue.popleft()
            if queue:
                self._queues[owner] = queue
            return clip
