"""The end of paho's network thread."""

import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from listener.mqtt.paho_thread import stop_network_thread


class ThreadReadOnce(paho.Client):
    """A client whose network thread ends between the two reads of ``loop_stop``."""

    def start_thread(self) -> None:
        self._thread = threading.Thread()

    def __getattribute__(self, name: str) -> object:
        value = super().__getattribute__(name)
        if name == "_thread" and value is not None:
            super().__setattr__("_thread", None)
        return value


def test_thread_that_ends_within_loop_stop_is_stopped() -> None:
    client = ThreadReadOnce(CallbackAPIVersion.VERSION2)
    client.start_thread()
    with pytest.raises(AttributeError):
        client.loop_stop()
    client.start_thread()
    stop_network_thread(client)


def test_client_without_a_thread_is_stopped() -> None:
    stop_network_thread(paho.Client(CallbackAPIVersion.VERSION2))
