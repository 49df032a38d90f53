"""The retained status, and the last will."""

import json

import msgspec

from listener.mqtt import topics
from listener.send.status import Status, will


def test_the_last_will_is_the_retained_status_of_who_vanished() -> None:
    said = will("hall")

    assert (said.topic, said.payload, said.retain) == (
        "earmark/v1/status/hall",
        topics.OFFLINE,
        True,
    )


def test_what_is_at_its_default_is_left_out() -> None:
    assert json.loads(msgspec.json.encode(Status(state="online"))) == {"state": "online"}


def test_nothing_is_claimed_of_a_switch_before_hear_has_said_what_is_fitted() -> None:
    assert Status(state="online").switch is None
