"""A broker inside this process, on loopback, so that the demo runs where none is installed.

It is amqtt, which speaks MQTT 3.1.1 and keeps nothing on disk. For the demo and nothing else.

Somebody who reads everything that passes the demo's broker, as its operator could.
"""

import asyncio
import contextlib
import logging
import socket
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from listener.errors import Unavailable

if TYPE_CHECKING:
    from amqtt.broker import Broker

_HOST: Final = "127.0.0.1"
_TRIES: Final = 5
_START_S: Final = 60.0
_END_S: Final = 10.0


@contextlib.contextmanager
def run_broker() -> Iterator[int]:
    """Run a broker while the block runs; yields its port.

    Raises:
        Unavailable: it does not start.
    """
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a client that leaves is news to it
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo broker", daemon=True)
    thread.start()
    try:
        port, running = asyncio.run_coroutine_threadsafe(_start(), loop).result(_START_S)
        try:
            yield port
        finally:
            # What it has to say about its own end is nothing that the demo is about.
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(running.shutdown(), loop).result(_END_S)
            asyncio.run_coroutine_threadsafe(_settle(), loop).result(_END_S)
    except TimeoutError as error:
        raise Unavailable("the demo's broker does not start or end") from error
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_END_S)
        if not thread.is_alive():
            loop.close()


async def _start() -> tuple[int, "Broker"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own: deprecated calls in what it imports
        from amqtt.broker import Broker  # noqa: PLC0415 - half a second, and only the demo needs it
        from amqtt.errors import BrokerError  # noqa: PLC0415 - to name its error is to load it whole

        for _ in range(_TRIES):
            port = _free_port()
            running = Broker(
                {
                    "listeners": {"default": {"type": "tcp", "bind": f"{_HOST}:{port}"}},
                    "plugins": {
                        "amqtt.plugins.authentication.AnonymousAuthPlugin": {
                            "allow_anonymous": True
                        }
                    },
                }
            )
            # Another program may take the port in between: then the next one.
            with contextlib.suppress(BrokerError):
                await running.start()
                return port, running
    raise Unavailable("no free port on loopback for the demo's broker")


async def _settle() -> None:
    """Let every task that the broker left behind end."""
    mine = asyncio.current_task()
    left = [task for task in asyncio.all_tasks() if task is not mine]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


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
