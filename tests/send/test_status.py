from listener.mqtt.broker import Message
from listener.send.status import Status, will


def test_the_last_will_says_offline_and_is_retained() -> None:
    assert will("hall") == Message("earmark/v1/status/hall", b'{"state":"offline"}', 1, retain=True)


def test_nothing_is_claimed_of_a_switch_before_hear_has_said_what_is_fitted() -> None:
    assert Status(state="online").switch is None
