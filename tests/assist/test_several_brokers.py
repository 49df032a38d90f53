"""assist on two brokers: whatever arrives by both is one thing."""

import pytest

from listener.mqtt.client import ConnectionLostEvent, Message
from tests.assist.conftest import Assist, InstantBroker


@pytest.fixture
def second(assist: Assist) -> InstantBroker:
    """The second broker; the service is started again with both."""
    assist.stop()
    assist.second = InstantBroker(assist.clocks)
    assist.start()
    return assist.second


def test_service_subscribes_at_both(assist: Assist, second: InstantBroker) -> None:
    assist.turn()

    assert set(second.subscribed) == set(assist.broker.subscribed) != set()


def test_command_that_arrives_by_both_is_carried_out_once(
    assist: Assist, second: InstantBroker
) -> None:
    nonce, ask = assist.kitchen.ask()
    by_both = Message("earmark/v1/ask/kitchen", ask, 0)
    for broker in (assist.broker, second):
        broker.events.append(by_both)
    assist.turn(0.3)
    (answer,) = assist.answers(assist.kitchen)
    assert answer.key is not None
    copy = assist.kitchen.copy(nonce, answer.key)
    for broker in (second, assist.broker):
        broker.events.append(Message(f"earmark/v1/spoken/kitchen/{nonce}", copy, 0))
    assist.turn()

    assert len(assist.understanding.obeyed) == 1
    assert assist.outcomes(assist.kitchen) == ["done"]


def test_answer_reaches_a_speaker_that_changed_over(assist: Assist, second: InstantBroker) -> None:
    nonce, ask = assist.kitchen.ask()
    assist.receive("earmark/v1/ask/kitchen", ask)
    assist.turn(0.3)

    topics = [message.topic for message in second.sent]
    assert topics == ["earmark/v1/answer/kitchen"]
    answer = assist.kitchen.understand(second.sent[0].payload)
    assert answer is not None
    assert answer.ask == nonce


def test_lost_broker_leaves_the_other(assist: Assist, second: InstantBroker) -> None:
    assist.turn()
    second.events.append(ConnectionLostEvent("gone"))
    second.connect = lambda: None  # type: ignore[method-assign] # it does not come back
    assist.turn()
    nonce, copy = assist.command(assist.kitchen)

    assert nonce
    assert copy
    assert assist.outcomes(assist.kitchen) == ["done"]
    assert second.sent == []


def test_announcement_that_a_bridge_publishes_at_both_is_spoken_once(
    assist: Assist, second: InstantBroker
) -> None:
    topic = "earmark/v1/announce/kitchen"
    for text in (b"dinner", b"dinner"):  # the second one is another announcement
        for broker in (assist.broker, second):
            broker.events.append(Message(topic, text, 0))
        assist.turn()
    assist.turn(2)
    nonce = assist.ask(assist.kitchen, why="poke")
    assist.turn(0.3)

    assert nonce
    assert assist.understanding.spoken == ["dinner dinner"]
