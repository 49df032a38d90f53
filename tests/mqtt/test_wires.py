"""Small packets do not wait."""

import socket

from listener.mqtt import wires


def test_a_connection_is_told_not_to_wait() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as wire,
    ):
        wires.disable_nagle(wire)
        wires.enable_quick_ack(wire)

        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not wires.has_pending_data(wire)


def test_a_connection_that_is_gone_is_no_error() -> None:
    wire = socket.socket()
    wire.close()

    wires.disable_nagle(wire)
    wires.enable_quick_ack(None)

    assert not wires.has_pending_data(None)
