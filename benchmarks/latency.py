"""Latency of a wake notice from hear's datagram over send and mosquitto to a subscriber."""

import queue
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.figures import percentile
from benchmarks.processes import DEVICE, earmark, mosquitto, running, write_home
from listener.errors import Unavailable
from listener.ipc.notice_socket import SOCKET, NoticeSender
from listener.ipc.notices import WakeNotice
from listener.mqtt.paho_thread import stop_network_thread

NOTICES: Final = 200
WARM_UP: Final = 5
LIMIT_S: Final = 5
TOPIC: Final = f"earmark/v1/event/{DEVICE}"


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Send notices one after the other; return percentiles of their latency, in ms.

    Args:
        say: called with each line of progress.

    Raises:
        Unavailable: there is no broker, or a notice did not arrive.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        with mosquitto(folder) as port:
            settings = write_home(folder, port)
            with (
                _subscribed(port) as arrived,
                running(earmark("send", "--config", str(settings))),
                closing(NoticeSender(folder / "home" / SOCKET)) as notifier,
            ):
                _wait_for_send(notifier, arrived)
                times_ms = [_measure_one(notifier, arrived) for _ in range(NOTICES + WARM_UP)][
                    WARM_UP:
                ]
    p50_ms, p99_ms = percentile(times_ms, 50), percentile(times_ms, 99)
    say(f"{NOTICES} notices: p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms")
    return {
        "notices": NOTICES,
        "notice_p50_ms": round(p50_ms, 3),
        "notice_p99_ms": round(p99_ms, 3),
    }


@contextmanager
def _subscribed(port: int) -> Iterator[queue.Queue[float]]:
    """Yield a queue of the arrival times of wake events."""
    arrived: queue.Queue[float] = queue.Queue()
    ready: queue.Queue[None] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)

    def note(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        now_s = time.perf_counter()
        if b'"wake"' in message.payload:
            arrived.put(now_s)

    client.on_message = note
    client.on_subscribe = lambda *_: ready.put(None)
    client.connect("127.0.0.1", port)
    client.subscribe(TOPIC, qos=1)
    client.loop_start()
    try:
        ready.get(timeout=LIMIT_S)
        yield arrived
    finally:
        client.disconnect()
        stop_network_thread(client)


def _wait_for_send(notifier: NoticeSender, arrived: queue.Queue[float]) -> None:
    """Send notices until the first one arrives: send must start and connect first."""
    limit_s = time.monotonic() + 3 * LIMIT_S
    while time.monotonic() < limit_s:
        notifier.send(WakeNotice(word="alexa", score=0.9))
        try:
            arrived.get(timeout=0.3)
        except queue.Empty:
            continue
        time.sleep(0.5)
        while not arrived.empty():
            arrived.get()
        return
    raise Unavailable("no notice arrived through earmark send")


def _measure_one(notifier: NoticeSender, arrived: queue.Queue[float]) -> float:
    # A random interval, so that no polling interval hides latency.
    time.sleep(random.SystemRandom().uniform(0.01, 0.05))
    sent_s = time.perf_counter()
    if not notifier.send(WakeNotice(word="alexa", score=0.9)):
        raise Unavailable("earmark send did not accept a notice")
    try:
        return (arrived.get(timeout=LIMIT_S) - sent_s) * 1000
    except queue.Empty as error:
        raise Unavailable("a notice did not arrive") from error
