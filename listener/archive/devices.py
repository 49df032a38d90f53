"""Keys of the household's devices in the archive: the highest number accepted of each.

Only the archive knows the last number that it accepted of a key. It states it to the device, whose
own may go back when its card is restored from a copy. And it sets it as the bound of a key that was
retired, in the thread that receives clips, so that no clip is accepted in between.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from listener.archive.storage_interfaces import ClipStore
from listener.errors import ConfigError, Unavailable
from listener.mqtt import sequence, topics
from listener.mqtt.client import Message
from listener.mqtt.sequence import AcceptedSequence
from listener.owner.records import RetiredDevice
from listener.owner.roster import Roster
from listener.storage.home import Home

_log = logging.getLogger(__name__)


def describe(retired: RetiredDevice) -> dict[str, Any]:
    """Return a retired key as answers and exports list it."""
    return {
        "name": retired.name,
        "key": retired.key,
        "retired": retired.retired_s,
        "last_seq": retired.last_seq,
    }


class AcceptedNumbers:
    """The statements of the highest accepted numbers, signed for each device. For one thread.

    Args:
        store: the clips.
        roster: returns the household's current roster.
        sign: returns the archive's Ed25519 signature.
        is_elected: returns True if this process states the numbers that no process accepted just
            now, too, as after a connection or a change of the roster.
    """

    def __init__(
        self,
        store: ClipStore,
        roster: Callable[[], Roster],
        sign: Callable[[bytes], bytes],
        is_elected: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._roster = roster
        self._sign = sign
        self._is_elected = is_elected
        self._seen: tuple[Roster, int] | None = None
        self._stated: dict[str, AcceptedSequence] = {}
        self._names: dict[str, str] = {}
        """Names of the roster's devices by key: it takes long to derive those of thousands."""

    def reset(self) -> None:
        """State every number again."""
        self._seen = None
        self._stated.clear()

    def pending_messages(self) -> Iterator[Message]:
        """Yield a message for each device of which a higher number was accepted.

        Raises:
            Unavailable: the index cannot be read.
        """
        now = self._roster(), self._store.version
        if self._seen is not None and now[0] is self._seen[0] and now[1] == self._seen[1]:
            return
        changed = self._store.changed_numbers()
        is_roster_new = self._seen is None or now[0] is not self._seen[0]
        if is_roster_new and self._is_elected():
            changed = None
        self._seen = None  # should the index fail below, every number is stated again
        if is_roster_new:
            self._names = {device.dkey: device.name for device in now[0].devices}
        numbers = self._store.highest_seqs(list(self._names)) if changed is None else changed
        for dkey, name in self._names_of(changed):
            seq = numbers.get(dkey, 0)
            stated = AcceptedSequence(device=name, dkey=dkey, seq=seq or 1)
            if seq and stated != self._stated.get(name):
                topic = topics.SEQUENCE.name(device=name)
                payload = sequence.encode(stated, self._sign)
                yield Message(topic, payload, topics.SEQUENCE.qos, topics.SEQUENCE.retain)
                self._stated[name] = stated
        self._seen = now

    def _names_of(self, changed: Mapping[str, int] | None) -> Iterable[tuple[str, str]]:
        """Return keys and names of the devices to look at."""
        if changed is None:
            return self._names.items()
        return [(dkey, self._names[dkey]) for dkey in changed if dkey in self._names]


class RetiredKeys:
    """The bounds of retired keys in the household's roster. For the thread that receives clips.

    Args:
        home: holds the roster.
        store: the clips.
        repair: reconciles the store's files and index. It comes before a bound: a clip without a
            row, or one that is restored from the quarantine, must not be above it.
        delay_s: time after which every process receives by a changed roster.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        home: Home,
        store: ClipStore,
        repair: Callable[[], int],
        *,
        delay_s: float = 0.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._delay_s = delay_s
        self._monotonic_s = monotonic_s
        self._changed: tuple[Roster, float] | None = None
        self._home = home
        self._store = store
        self._repair = repair
        self._seen: Roster | None = None

    def set_bounds(self, roster: Roster) -> None:
        """Set the last accepted number of each retired key that lacks it.

        A roster that cannot be written is logged once; the next change of it is the next attempt.
        Until then the key verifies every stored clip, and no new one.

        Args:
            roster: the one by which the thread receives clips.
        """
        if roster is self._seen:
            return
        if self._changed is None or self._changed[0] is not roster:
            self._changed = roster, self._monotonic_s()
        if self._monotonic_s() - self._changed[1] < self._delay_s:
            return
        self._seen = roster
        if all(retired.last_seq is not None for retired in roster.retired_devices):
            return
        try:
            self._repair()
            self._home.change_roster(lambda now: now.with_last_seqs(self._store.highest_seq))
        except (ConfigError, Unavailable) as error:
            _log.warning("cannot write the last number of a removed device: %s", error)
