from collections.abc import Sequence

import pytest

from listener.config import BrokerSettings
from listener.doctor import reach
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    Message,
)


class FakeBroker:
    """Answers each connection with what it is told; its clock moves while it is waited for."""

    def __init__(self, *answers: Sequence[BrokerEvent]) -> None:
        self._answers = list(answers)
        self._now: list[BrokerEvent] = []
        self.now_s = 100.0
        self.is_closed = False
        self.connections = 0

    def connect(self) -> None:
        self.connections += 1
        self._now = list(self._answers.pop(0)) if self._answers else []

    def subscribe(self, pattern: str) -> None:
        raise AssertionError(pattern)

    def publish(self, message: Message) -> int:
        raise AssertionError(message)

    def poll(self, longest_s: float, also: Sequence[object] = ()) -> list[BrokerEvent]:
        del also
        self.now_s += longest_s
        happened, self._now = self._now[:1], self._now[1:]
        return happened

    def close(self) -> None:
        self.is_closed = True

    def monotonic_s(self) -> float:
        return self.now_s


WELCOME = ConnectedEvent(BrokerLimits(), "5")


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([[WELCOME]], "here:1883 answers, in MQTT 5"),
        ([[], [WELCOME]], "here:1883: no answer"),
        (
            [[ConnectionLostEvent("it hung up")], [ConnectedEvent(BrokerLimits(), "3.1.1")]],
            "answers, in MQTT 3.1.1",
        ),
        (
            [[ConnectionLostEvent("it hung up")], [ConnectionLostEvent("not authorized")]],
            "here:1883: not authorized",
        ),
    ],
)
def test_what_a_broker_does_is_told(answers: list[list[BrokerEvent]], text: str) -> None:
    broker = FakeBroker(*answers)

    finding = reach.try_connection(broker, "here:1883", broker.monotonic_s)

    assert text in finding.text
    assert finding.verdict == ("ok" if "answers" in finding.text else "fail")
    assert broker.is_closed
    assert broker.connections <= reach.TRIES


def test_a_port_that_nobody_listens_on_fails(free_port: int) -> None:
    finding = reach.check_broker(BrokerSettings(port=free_port))

    assert finding.verdict == "fail"
    assert "refused" in finding.text


def test_settings_that_cannot_be_used_fail_before_the_network_is_asked() -> None:
    finding = reach.check_broker(BrokerSettings(ca_file="/nowhere/ca.crt"))

    assert finding.verdict == "fail"
    assert "broker.ca_file" in finding.hint
