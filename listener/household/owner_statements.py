"""Statements of the speakers about their owners' keys, read from the broker; answers to them.

The household verifies who signed a statement. It can neither read a challenge nor make an answer.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.errors import Unavailable
from listener.household.broker_failures import CHECK_BROKER, raise_on_failure
from listener.mqtt import owner_challenges, topics
from listener.mqtt.client import (
    Broker,
    ConnectedEvent,
    DeliveredEvent,
    Message,
)
from listener.mqtt.owner_challenges import MOST_ANSWERS, OwnerStatement
from listener.mqtt.owner_statement import read_statement

PATIENCE_S: Final = 15.0
"""Timeout for the broker, in seconds."""
QUIET_S: Final = 1.0
"""Seconds without a message after which all retained ones are assumed received."""
EXPIRY_S: Final = 24 * 3600
"""Message expiry of answers: the challenges are not valid for longer."""
_TURN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement of one speaker, with the bytes that it signed."""

    statement: OwnerStatement
    data: bytes


class OwnerRound:
    """Connection to the broker for the challenges of one owner. For one thread.

    Args:
        broker: the client, of the household's own identity.
        devices: public keys of the household's speakers, by name.
        owner: name of the owner.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        broker: Broker,
        devices: Mapping[str, Ed25519PublicKey],
        owner: str,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker: Final = broker
        self._devices: Final = devices
        self._owner: Final = owner
        self._monotonic_s: Final = monotonic_s
        self.statements: Final[dict[str, SignedStatement]] = {}
        """The newest statement of each speaker about the owner, by the speaker's name."""
        self._answers: Final[dict[str, tuple[str, ...]]] = {}

    def collect(self, patience_s: float) -> None:
        """Read the retained statements, and wait for those of speakers that have none yet.

        Args:
            patience_s: longest wait after the retained messages, in seconds.

        Raises:
            Unavailable: the broker does not answer, or denies access.
        """
        self._broker.connect()
        until_s, connected = self._monotonic_s() + PATIENCE_S, False
        end_s = until_s
        while (left_s := until_s - self._monotonic_s()) > 0:
            for event in self._broker.poll(min(left_s, _TURN_S)):
                if isinstance(event, ConnectedEvent):
                    self._broker.subscribe(topics.OWNER_CHALLENGES.topic_filter())
                    self._broker.subscribe(topics.OWNER_ANSWERS.topic_filter())
                    connected = True
                    end_s = self._monotonic_s() + QUIET_S + patience_s
                    until_s = self._monotonic_s() + QUIET_S
                elif isinstance(event, Message):
                    self._take(event)
                    until_s = self._monotonic_s() + QUIET_S
                else:
                    raise_on_failure(event)
            if connected and self._devices.keys() - self.statements.keys():
                until_s = max(until_s, min(end_s, self._monotonic_s() + QUIET_S))
        if not connected:
            raise Unavailable("the broker does not answer", CHECK_BROKER)

    def answer(self, answers: Mapping[str, str], patience_s: float) -> None:
        """Publish answers, and wait until the speakers state that the owner is confirmed.

        Args:
            answers: the owner's answers, by the speaker's name.
            patience_s: longest wait, in seconds.

        Raises:
            Unavailable: the connection is lost, or the broker denies access.
        """
        in_flight = set()
        for device, answer in answers.items():
            # Another owner's answer that the speaker has not seen stays beside this one.
            others = [
                line
                for line in self._answers.get(device, ())
                if not line.startswith(f"{self._owner}:")
            ]
            payload = owner_challenges.encode_answers([*others[1 - MOST_ANSWERS :], answer])
            in_flight.add(
                self._broker.publish(
                    Message(
                        topics.OWNER_ANSWERS.name(device=device),
                        payload,
                        topics.OWNER_ANSWERS.qos,
                        topics.OWNER_ANSWERS.retain,
                        expiry_s=EXPIRY_S,
                    )
                )
            )
        until_s = self._monotonic_s() + patience_s
        while self._monotonic_s() < until_s:
            if not in_flight and all(self.is_confirmed(device) for device in answers):
                return
            for event in self._broker.poll(_TURN_S):
                if isinstance(event, DeliveredEvent):
                    in_flight.discard(event.ticket)
                elif isinstance(event, Message):
                    self._take(event)
                else:
                    raise_on_failure(event)
        if in_flight:
            raise Unavailable(
                "the broker does not acknowledge the answers", "run the command again"
            )

    def is_confirmed(self, device: str) -> bool:
        """Return whether a speaker states that the owner has confirmed their key."""
        signed = self.statements.get(device)
        return signed is not None and signed.statement.challenge is None

    def close(self) -> None:
        """Disconnect."""
        self._broker.close()

    def _take(self, message: Message) -> None:
        levels = topics.OWNER_ANSWERS.levels(message.topic)
        if levels is not None:
            self._answers[levels["device"]] = owner_challenges.parse_answers(message.payload)
        levels = topics.OWNER_CHALLENGES.levels(message.topic)
        device = None if levels is None else levels["device"]
        if device is None or device not in self._devices:
            return
        stated = [
            SignedStatement(statement, data)
            for data in owner_challenges.split_statements(message.payload)
            if (statement := read_statement(data, device, self._devices[device])) is not None
        ]
        known = self.statements.get(device)
        if known is not None and stated:
            newest_s = max(signed.statement.made_s for signed in stated)
            if newest_s < known.statement.made_s:
                return  # retained by another broker since before the speaker changed over
        self.statements.pop(device, None)
        for signed in stated:
            if signed.statement.owner == self._owner:
                self.statements[device] = signed
