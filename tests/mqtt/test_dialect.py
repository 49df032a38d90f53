"""Which version is spoken; what the wire shows of it is in test_client.py."""

from typing import Literal

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from listener.mqtt.dialect import Dialect


def test_the_newer_version_is_tried_first_and_the_other_in_turn() -> None:
    dialect = Dialect("auto")
    spoken = []

    for _ in range(3):
        spoken.append((dialect.is_new, dialect.is_on_trial))
        dialect.fall_back()

    assert spoken == [(True, True), (False, False), (True, True)]


def test_another_broker_is_asked_in_the_newer_version_again() -> None:
    dialect = Dialect("auto")
    dialect.fall_back()

    dialect.start_over()

    assert dialect.is_new


@pytest.mark.parametrize(("asked", "is_new"), [("5", True), ("3.1.1", False)])
def test_a_version_that_was_asked_for_is_the_only_one(
    asked: Literal["5", "3.1.1"], *, is_new: bool
) -> None:
    dialect = Dialect(asked)

    dialect.fall_back()

    assert dialect.is_new == is_new
    assert not dialect.is_on_trial


def test_a_client_speaks_what_is_spoken() -> None:
    dialect = Dialect("auto")
    first = dialect.client("d-hall")
    dialect.fall_back()

    assert first.protocol == MQTTProtocolVersion.MQTTv5
    assert dialect.client("d-hall").protocol == MQTTProtocolVersion.MQTTv311
