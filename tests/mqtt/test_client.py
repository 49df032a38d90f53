"""What a broker grants."""

from listener.mqtt.client import BrokerLimits, Message


def test_the_size_on_the_wire_is_bounded_from_above() -> None:
    message = Message("tøpic", b"x" * 100)

    assert not BrokerLimits(packet_bytes=120).accepts(message)
    assert BrokerLimits(packet_bytes=121).packet_size_bytes(message) == 15 + 6 + 100
    assert BrokerLimits(packet_bytes=121).accepts(message)
    assert BrokerLimits().accepts(message)
