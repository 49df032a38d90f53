"""Interface of the MQTT client, and its events. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

PACKET_TOO_LARGE: Final = 0x95
NO_SUBSCRIBERS: Final = 0x10
SESSION_TAKEN_OVER: Final = 0x8E
IN_FLIGHT: Final = 8
WAITED: Final = "waited"
"""Name of the user property that carries ``Message.waited_s``."""
PUBLISHED: Final = "published"
"""Name of the user property that carries ``Message.published_ms``."""
LONGEST_PUBLISHED_MS: Final = 9_999_999_999_999
LONGEST_WAITED_S: Final = 9_999_999_999


class Waitable(Protocol):
    """Object with a descriptor, for ``select``."""

    def fileno(self) -> int:
        """Return the descriptor."""


@dataclass(frozen=True, slots=True)
class Message:
    """Message to publish, or received."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    """Message expiry interval (MQTT 5); MQTT 3.1.1 has none."""
    waited_s: int = 0
    """Running time for which a clip waited at its device (MQTT 5, user property ``WAITED``)."""
    published_ms: int = 0
    """Time of publication of a retained message, in milliseconds since 1970, with several
    brokers: what one of them retains may be older than what another did (MQTT 5, user property
    ``PUBLISHED``). 0 if it is not known."""
    left_s: int | None = field(default=None, compare=False)
    """What is left of the expiry interval of a received message: the broker subtracts the time for
    which it kept the message (MQTT 5, section 3.3.2.3.3). None without an expiry interval."""
    unread_since_s: float | None = field(default=None, compare=False)
    """Time on the monotonic clock at which the connection had nothing to read, before this message
    was received: the broker sent it later. None if it is not known."""


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Limits of the broker on this connection. Topic aliases are never used."""

    packet_bytes: int | None = None
    """Maximum packet size; None without a limit."""
    qos: int = 1
    retain: bool = True
    in_flight: int = IN_FLIGHT

    def packet_size_bytes(self, message: Message) -> int:
        """Return an upper bound of the size of ``message`` on the wire."""
        # 1 for the type, 4 for the length, 2 for the topic's length, 2 for the identifier, 1 for
        # the length of the properties, 5 for the expiry, and 21 for the time waited: 1 for its
        # type, 2 for each length, 6 for its name and 10 for its digits.
        fixed_bytes = 36 if message.waited_s else 15
        # 1 for its type, 2 for each length, 9 for its name and 13 for its digits.
        fixed_bytes += 27 if message.published_ms else 0
        return fixed_bytes + len(message.topic.encode()) + len(message.payload)

    def accepts(self, message: Message) -> bool:
        """Return whether ``message`` is within the limits."""
        return self.packet_bytes is None or self.packet_size_bytes(message) <= self.packet_bytes


@dataclass(frozen=True, slots=True)
class ConnectedEvent:
    """Connection accepted; subscribe now, since sessions are clean."""

    limits: BrokerLimits
    protocol: str
    address: str = field(default="", compare=False)
    """Host and port of the broker."""


@dataclass(frozen=True, slots=True)
class ConnectionLostEvent:
    """Connection failed or lost; no events follow for messages published on it."""

    reason: str
    code: int | None = None
    """Reason code of the broker, if it sent one."""
    address: str = field(default="", compare=False)
    """Host and port of the broker."""
    hint: str = field(default="", compare=False)
    """Instruction for a cause that the connection shows, such as TLS; or empty."""

    def describe(self) -> str:
        """Return address and reason, after the words "no connection to the broker"."""
        return f" at {self.address}: {self.reason}" if self.address else f": {self.reason}"


@dataclass(frozen=True, slots=True)
class DeliveredEvent:
    """Message acknowledged by the broker; a subscriber may still be missing."""

    ticket: int
    code: int = 0


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """Message rejected by the broker."""

    ticket: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeniedEvent:
    """Subscription denied by the broker."""

    reason: str


BrokerEvent = (
    ConnectedEvent | ConnectionLostEvent | DeliveredEvent | RejectedEvent | DeniedEvent | Message
)


class Broker(Protocol):
    """Client of a broker. For one thread."""

    def connect(self) -> None:
        """Start to connect; ``poll`` returns the result."""

    def subscribe(self, pattern: str) -> None:
        """Subscribe to the topic filter ``pattern``."""

    def publish(self, message: Message) -> int:
        """Queue a message; return the ticket that its events carry, or 0 if it was not queued."""

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """Wait for events, or for data on one of ``also``, for ``longest_s``; return the events."""

    def close(self) -> None:
        """Disconnect, so that no last will is published."""


class SelectableBroker(Broker, Protocol):
    """Client of a broker that can be waited for together with others. For one thread."""

    def descriptors(self) -> Sequence[Waitable]:
        """Return what becomes readable when ``poll`` has something to do."""

    def is_ready(self) -> bool:
        """Return whether ``poll`` has something to do that no descriptor shows."""
