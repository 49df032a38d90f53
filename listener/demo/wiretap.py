"""Somebody who reads everything that passes the demo's broker, as its operator could."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from listener.errors import Unavailable

_HOST: Final = "127.0.0.1"
_WELCOME_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """One message."""

    topic: str
    payload: bytes

    @property
    def is_clip(self) -> bool:
        """Whether its topic says that it is one."""
        return "/clips/" in self.topic


@contextlib.contextmanager
def run_wiretap(port: int) -> Iterator[list[CapturedMessage]]:
    """Listen in while the block runs; the list grows as messages pass.

    Raises:
        Unavailable: the broker does not answer.
    """
    passed: list[CapturedMessage] = []
    listens = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="s-wiretap")

    def connected(*_: object) -> None:
        client.subscribe("#", qos=1)

    def heard(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        passed.append(CapturedMessage(message.topic, bytes(message.payload)))

    client.on_connect = connected
    client.on_subscribe = lambda *_: listens.set()
    client.on_message = heard
    try:
        client.connect(_HOST, port)
    except OSError as error:
        raise Unavailable(f"the demo's broker does not answer: {error.strerror}") from error
    client.loop_start()
    try:
        if not listens.wait(_WELCOME_S):
            raise Unavailable("the demo's broker does not answer")
        yield passed
    finally:
        client.disconnect()
        client.loop_stop()
