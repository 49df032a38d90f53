"""Which version is spoken; what the wire shows of it is in test_client.py."""

from typing import Literal

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from listener.mqtt.dialect import ProtocolVersion


def test_the_newer_version_is_tried_first_and_the_other_in_turn() -> None:
    dialect = ProtocolVersion("auto")
    spoken = []

    for _ in range(3):
        spoken.append((dialect.is_v5, dialect.has_fallback))
        dialect.fall_back()

    assert spoken == [(True, True), (False, False), (True, True)]


def test_another_broker_is_asked_in_the_newer_version_again() -> None:
    dialect = ProtocolVersion("auto")
    dialect.fall_back()

    dialect.start_over()

    assert dialect.is_v5


@pytest.mark.parametrize(("asked", "is_new"), [("5", True), ("3.1.1", False)])
def test_a_version_that_was_asked_for_is_the_only_one(
    asked: Literal["5", "3.1.1"], *, is_new: bool
) -> None:
    dialect = ProtocolVersion(asked)

    dialect.fall_back()

    assert dialect.is_v5 == is_new
    assert not dialect.has_fallback


def test_a_client_speaks_what_is_spoken() -> None:
    dialect = ProtocolVersion("auto")
    first = dialect.new_client("d-hall")
    dialect.fall_back()

    assert first.protocol == MQTTProtocolVersion.MQTTv5
    assert dialect.new_client("d-hall").protocol == MQTTProtocolVersion.MQTTv311
