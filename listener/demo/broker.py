"""MQTT broker inside this process, on loopback, and a client that records all of its messages.

The broker is amqtt (MQTT 3.1.1, nothing on disk), so that the demo runs without mosquitto; it is
for the demo only. MQTT 3.1.1 has no expiry; voice control does not rely on a broker's. The wiretap
reads what the operator of a broker could read.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from listener.errors import Unavailable
from listener.mqtt.paho_thread import stop_network_thread

if TYPE_CHECKING:
    from amqtt.broker import Broker

_HOST: Final = "127.0.0.1"
_TRIES: Final = 5
_START_S: Final = 60.0
_SUBSCRIBE_S: Final = 30.0
_END_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class CapturedMessage:
    """Message that the broker carried."""

    topic: str
    payload: bytes
    received_s: float = 0.0
    """Time at which the recording client had it, on the monotonic clock."""

    @property
    def is_clip(self) -> bool:
        """True if its topic is that of a clip."""
        return "/clips/" in self.topic


@contextlib.contextmanager
def run_broker() -> Iterator[int]:
    """Run a broker while the block runs; yields its port.

    Raises:
        Unavailable: the broker does not start or end.
    """
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it logs each client that disconnects
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo broker", daemon=True)
    thread.start()
    try:
        port, running = asyncio.run_coroutine_threadsafe(_start(), loop).result(_START_S)
        try:
            yield port
        finally:
            # Errors of its shutdown do not matter to the demo.
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(running.shutdown(), loop).result(_END_S)
            asyncio.run_coroutine_threadsafe(_settle(), loop).result(_END_S)
    except TimeoutError as error:
        raise Unavailable(
            "the demo's broker does not start or end", "run the demo again"
        ) from error
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_END_S)
        if not thread.is_alive():
            loop.close()


@contextlib.contextmanager
def run_wiretap(port: int, topic_filter: str = "#") -> Iterator[list[CapturedMessage]]:
    """Record messages while the block runs; yields the growing list.

    Args:
        port: of the broker on loopback.
        topic_filter: of the messages; by default all.

    Raises:
        Unavailable: the broker does not answer.
    """
    messages: list[CapturedMessage] = []
    is_subscribed = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"s-{secrets.token_hex(4)}")

    def on_connect(*_: object) -> None:
        client.subscribe(topic_filter, qos=1)

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        now_s = time.monotonic()
        # amqtt sends the retained messages of all topics to each subscriber.
        if not paho.topic_matches_sub(topic_filter, message.topic):
            return
        messages.append(CapturedMessage(message.topic, bytes(message.payload), now_s))

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: is_subscribed.set()
    client.on_message = on_message
    try:
        client.connect(_HOST, port)
    except OSError as error:
        raise Unavailable(f"the demo's broker does not answer: {error.strerror}") from error
    client.loop_start()
    try:
        if not is_subscribed.wait(_SUBSCRIBE_S):
            raise Unavailable("the demo's broker does not answer", "run the demo again")
        yield messages
    finally:
        client.disconnect()
        stop_network_thread(client)


def publish(port: int, messages: Sequence[CapturedMessage]) -> None:
    """Publish recorded messages again, in their order.

    Args:
        port: of the broker on loopback.
        messages: to publish.

    Raises:
        Unavailable: the broker does not answer.
    """
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"s-{secrets.token_hex(4)}")
    try:
        client.connect(_HOST, port)
    except OSError as error:
        raise Unavailable(f"the demo's broker does not answer: {error.strerror}") from error
    client.loop_start()
    try:
        for message in messages:
            client.publish(message.topic, message.payload).wait_for_publish(_SUBSCRIBE_S)
    finally:
        client.disconnect()
        stop_network_thread(client)


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
            # Another program may have taken the port: try the next one.
            with contextlib.suppress(BrokerError):
                await running.start()
                return port, running
    raise Unavailable("there is no free port on loopback for the demo's broker")


async def _settle() -> None:
    """Cancel the tasks that the broker left running."""
    current = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not current]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
