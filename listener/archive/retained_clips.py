"""Removal of retained clips from the broker.

Devices publish clips without the retain flag. The broker's access list cannot forbid the flag, and
mosquitto bounds the number of retained messages by nothing but its memory. So the archive removes a
retained clip as soon as it receives it, and counts it for its device.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from listener.mqtt import topics
from listener.mqtt.client import Message

FIRST_PAUSE_S: Final = 1.0
"""Pause before subscribing again. The broker sends its retained messages at each subscription, but
only as many as its queue for one client holds."""
LONGEST_PAUSE_S: Final = 60.0
"""The same while removals have no effect: an older access list does not permit them."""
_MOST_REMEMBERED: Final = 1024
_MOST_DEVICES: Final = 64


class RetainedClips:
    """Remover of retained clips. For one thread.

    Args:
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._subscribed_s = monotonic_s()
        self._pause_s = FIRST_PAUSE_S
        self._has_arrived = False
        self._is_futile = False
        self._topics: OrderedDict[str, None] = OrderedDict()
        self._received: Counter[str] = Counter()

    def on_subscribed(self) -> None:
        """Note a subscription: what the broker retains arrives next."""
        self._subscribed_s = self._monotonic_s()
        self._pause_s = (
            min(2 * self._pause_s, LONGEST_PAUSE_S) if self._is_futile else FIRST_PAUSE_S
        )
        self._has_arrived = self._is_futile = False

    def is_subscription_due(self) -> bool:
        """Return whether to subscribe again, because the broker may retain more clips."""
        return self._has_arrived and self._monotonic_s() - self._subscribed_s >= self._pause_s

    def removal_of(self, message: Message) -> Message | None:
        """Return the message that removes a clip from the broker; None if it is not retained.

        Args:
            message: received on a clip topic.
        """
        levels = topics.CLIP.levels(message.topic)
        if not message.retain or not message.payload or levels is None:
            return None
        self._has_arrived = True
        self._is_futile = self._is_futile or message.topic in self._topics
        self._topics[message.topic] = None
        if len(self._topics) > _MOST_REMEMBERED:
            self._topics.popitem(last=False)
        device = levels["device"]
        is_known = device in self._received or len(self._received) < _MOST_DEVICES
        self._received[device if is_known else "other devices"] += 1
        return Message(message.topic, b"", topics.CLIP.qos, retain=True)

    def counts(self) -> dict[str, int]:
        """Return the number of retained clips by device since the start, in words for the log."""
        return {f"retained clips of {device}": number for device, number in self._received.items()}
