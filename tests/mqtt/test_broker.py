"""What a broker grants."""

from listener.mqtt.broker import Limits, Message


def test_the_size_on_the_wire_is_bounded_from_above() -> None:
    message = Message("tøpic", b"x" * 100)

    assert not Limits(packet_bytes=120).passes(message)
    assert Limits(packet_bytes=121).packet_size_bytes(message) == 15 + 6 + 100
    assert Limits(packet_bytes=121).passes(message)
    assert Limits().passes(message)
