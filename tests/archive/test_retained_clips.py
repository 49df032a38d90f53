"""Retained clips are removed from the broker and counted."""

import pytest

from listener.archive.retained_clips import FIRST_PAUSE_S, LONGEST_PAUSE_S, RetainedClips
from listener.mqtt.client import Message
from tests.archive.conftest import FakeClock

CLIP = "0a0a0a0a-0000-4000-8000-00000000000"


def clip(number: int = 0, device: str = "hall", **fields: object) -> Message:
    topic = f"earmark/v1/clips/ada/{device}/{CLIP}{number}"
    return Message(topic, **({"payload": b"x", "qos": 1, "retain": True} | fields))  # type: ignore[arg-type] # fields of a message


@pytest.fixture
def removed(clock: FakeClock) -> RetainedClips:
    return RetainedClips(clock)


def test_retained_clip_is_removed_by_an_empty_retained_message(removed: RetainedClips) -> None:
    removal = removed.removal_of(clip())

    assert removal == Message(clip().topic, b"", 1, retain=True)
    assert removed.counts() == {"retained clips of hall": 1}


@pytest.mark.parametrize(
    "message",
    [
        clip(retain=False),
        clip(payload=b""),
        Message("earmark/v1/status/hall", b"x", 1, retain=True),
        Message("earmark/v1/clips/ada/hall/../x", b"x", 1, retain=True),
    ],
)
def test_other_messages_are_left_alone(removed: RetainedClips, message: Message) -> None:
    assert removed.removal_of(message) is None
    assert removed.counts() == {}
    assert not removed.is_subscription_due()


def test_subscription_is_repeated_until_nothing_retained_arrives(
    removed: RetainedClips, clock: FakeClock
) -> None:
    removed.on_subscribed()
    removed.removal_of(clip(1))
    assert not removed.is_subscription_due()
    clock.now_s += FIRST_PAUSE_S
    assert removed.is_subscription_due()

    removed.on_subscribed()
    clock.now_s += 3600

    assert not removed.is_subscription_due()


def test_pause_grows_while_removals_have_no_effect(
    removed: RetainedClips, clock: FakeClock
) -> None:
    subscriptions = 0
    for _ in range(3600):
        removed.removal_of(clip())
        clock.now_s += 1
        if removed.is_subscription_due():
            removed.on_subscribed()
            subscriptions += 1

    assert 50 < subscriptions < 3600 / LONGEST_PAUSE_S + 10


def test_number_of_counted_devices_is_bounded(removed: RetainedClips) -> None:
    for number in range(1000):
        removed.removal_of(clip(device=f"d{number}"))

    assert len(removed.counts()) == 65
    assert removed.counts()["retained clips of other devices"] == 936
