"""End of the network thread that a paho client starts with ``loop_start``."""

import contextlib

import paho.mqtt.client as paho


def stop_network_thread(client: paho.Client) -> None:
    """Stop the network thread of a client and wait for its end.

    ``Client.loop_stop`` reads its thread twice, and the thread sets that attribute to None as it
    ends: after a disconnection ``loop_stop`` can raise AttributeError between the two (paho 2.1).
    The thread has ended then.

    Args:
        client: a client whose thread was started with ``loop_start``.
    """
    with contextlib.suppress(AttributeError):
        client.loop_stop()
