"""What a broker's client does and tells, whichever it is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

PACKET_TOO_LARGE: Final = 0x95
NO_SUBSCRIBERS: Final = 0x10
IN_FLIGHT: Final = 8


class Waitable(Protocol):
    """Something to wait on."""

    def fileno(self) -> int:
        """Return the descriptor."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish, or received."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    """How long a broker may hold it for somebody who is away; MQTT 3.1.1 cannot say it."""


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What the broker grants on this connection. Topic aliases are never used."""

    packet_bytes: int | None = None
    """The longest packet it takes; None where it does not say."""
    qos: int = 1
    retain: bool = True
    in_flight: int = IN_FLIGHT

    def packet_size_bytes(self, message: Message) -> int:
        """Return an upper bound of what ``message`` measures on the wire."""
        # 1 for the type, 4 for the length, 2 for the topic's length, 2 for the identifier, 1 for
        # the length of the properties, and 5 for the one that we send, the expiry.
        return 15 + len(message.topic.encode()) + len(message.payload)

    def accepts(self, message: Message) -> bool:
        """Say whether the broker would take it."""
        return self.packet_bytes is None or self.packet_size_bytes(message) <= self.packet_bytes


@dataclass(frozen=True, slots=True)
class ConnectedEvent:
    """The broker welcomed us; subscribe now, it remembers nothing."""

    limits: BrokerLimits
    protocol: str


@dataclass(frozen=True, slots=True)
class ConnectionLostEvent:
    """There is no connection, or no longer. Nothing more is heard of what was published."""

    reason: str
    code: int | None = None
    """What the broker gave as its reason, where it gave one."""


@dataclass(frozen=True, slots=True)
class DeliveredEvent:
    """The broker has it. That it reaches anybody is not said."""

    ticket: int
    code: int = 0


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """The broker will not have it."""

    ticket: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeniedEvent:
    """The broker does not let us hear what we subscribed to."""

    reason: str


BrokerEvent = (
    ConnectedEvent | ConnectionLostEvent | DeliveredEvent | RejectedEvent | DeniedEvent | Message
)


class Broker(Protocol):
    """What the verbs need of a broker's client. For one thread."""

    def connect(self) -> None:
        """Begin; ``poll`` says how it ends."""

    def subscribe(self, pattern: str) -> None:
        """Ask for what is published under ``pattern``."""

    def publish(self, message: Message) -> int:
        """Hand a message over; return a ticket by which ``poll`` speaks of it.

        0 is no ticket: the message could not be taken.
        """

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """Wait until something happens, here or on one of ``also``; return what happened here."""

    def close(self) -> None:
        """Say goodbye, so that no last will is published."""
