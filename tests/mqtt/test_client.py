"""What a broker grants."""

from listener.mqtt.client import BrokerLimits, Message


def test_packet_size_is_an_upper_bound() -> None:
    message = Message("tøpic", b"x" * 100)

    assert not BrokerLimits(packet_bytes=120).accepts(message)
    assert BrokerLimits(packet_bytes=121).packet_size_bytes(message) == 15 + 6 + 100
    assert BrokerLimits(packet_bytes=121).accepts(message)
    assert BrokerLimits().accepts(message)


def test_time_waited_takes_more_of_the_packet() -> None:
    limits = BrokerLimits(packet_bytes=130)

    assert limits.accepts(Message("a/b/cd", bytes(100)))
    assert not limits.accepts(Message("a/b/cd", bytes(100), waited_s=9_999_999_999))
