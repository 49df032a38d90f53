"""Whether the broker answers, asked with the same client as send's."""

import secrets
import time
from collections.abc import Callable
from typing import Final

from listener.config import BrokerSettings
from listener.errors import EarmarkError
from listener.mqtt.client import Broker, ConnectedEvent, ConnectionLostEvent
from listener.mqtt.paho_client import PahoBroker
from listener.system.findings import Check, Finding

PATIENCE_S: Final = 8.0
TRIES: Final = 2
"""The second in the other version of MQTT, where a broker hung up on the first."""


def check_broker(settings: BrokerSettings) -> Finding:
    """Connect, and say goodbye.

    Args:
        settings: where it is and how to speak to it.
    """
    # Not send's name: a broker lets one connection live for each, and send's would be cut.
    name = f"doctor-{secrets.token_hex(4)}"
    try:
        client = PahoBroker(settings, name)
    except EarmarkError as error:
        return Check("broker").failed(error)
    return try_connection(client, f"{settings.host}:{settings.port}", time.monotonic)


def try_connection(client: Broker, address: str, monotonic_s: Callable[[], float]) -> Finding:
    """Try to connect, and tell what came of it.

    Args:
        client: not connected yet; closed afterwards.
        address: for people.
        monotonic_s: a clock that never jumps.
    """
    reason = "no answer"
    until_s = monotonic_s() + PATIENCE_S
    try:
        for _ in range(TRIES):
            client.connect()
            while (left_s := until_s - monotonic_s()) > 0:
                happened = client.poll(min(0.5, left_s))
                for each in happened:
                    if isinstance(each, ConnectedEvent):
                        return Check("broker").ok(f"{address} answers, in MQTT {each.protocol}")
                lost = [each.reason for each in happened if isinstance(each, ConnectionLostEvent)]
                if lost:
                    reason = lost[-1]
                    break
    finally:
        client.close()
    return Check("broker").fail(
        f"{address}: {reason}",
        "clips wait in the spool until it answers; broker.host and broker.port say where",
    )
