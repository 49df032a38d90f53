"""What an installation needs to make clips: keeper, key, models and spool. Nothing is made.

Whether the broker answers, asked with the same client as send's.
"""

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from listener.config import BrokerSettings, Config, SpoolSettings, WakeSettings
from listener.errors import EarmarkError
from listener.inference.catalogue import Catalogue
from listener.mqtt.client import Broker, ConnectedEvent, ConnectionLostEvent
from listener.mqtt.paho_client import PahoBroker
from listener.spool.queue import Spool
from listener.storage.home import Home
from listener.system.findings import Check, Finding


def check_installation(settings: Config) -> Iterator[Finding]:
    """Look at all of it.

    Args:
        settings: with the folder of the installation.
    """
    home = Home(Path(settings.home))
    yield _check_keeper(home, settings.attribution.keeper)
    yield _check_key(home)
    yield _check_models(Catalogue(home.path), settings.wake)
    yield _check_spool(home.path / "spool", settings.spool)


def _check_keeper(home: Home, name: str | None) -> Finding:
    try:
        keeper = home.keeper(name)
    except EarmarkError as error:
        return Check("keeper").fail_with(error)
    return Check("keeper").ok(f"{keeper}, who has confirmed her key")


def _check_key(home: Home) -> Finding:
    if not (home.path / "device.key").exists():
        return Check("key").ok("there is none yet; hear makes it when it first starts")
    try:
        home.device_key()
    except EarmarkError as error:
        return Check("key").fail_with(error)
    return Check("key").ok("the device's key is there, and nobody else's")


def _check_models(catalogue: Catalogue, settings: WakeSettings) -> Finding:
    try:
        for name in settings.words:
            catalogue.load(name)
        catalogue.embedding()
        catalogue.speech()
    except EarmarkError as error:
        return Check("models").fail_with(error)
    words = ", ".join(settings.words)
    return Check("models").ok(f"{words}: each is what its manifest says, byte for byte")


def _check_spool(folder: Path, settings: SpoolSettings) -> Finding:
    # The nearest folder that is there: what is missing is made when it is needed.
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK) or not stat.S_ISDIR(there.stat().st_mode):
        return Check("spool").fail(
            f"{there} cannot be written: every clip would be lost",
            "run doctor as the user that runs hear, or give it the folder",
        )
    spool = Spool(folder, settings)
    try:
        waiting, counts = len(spool.waiting()), spool.counts()
    except (OSError, EarmarkError) as error:
        return Check("spool").fail(f"it cannot be read: {error}")
    free = os.statvfs(there)
    free_bytes = free.f_bavail * free.f_frsize
    lost = counts.dropped + counts.refused + counts.quarantined - counts.released
    text = (
        f"{waiting} clips wait, {lost} were dropped, refused or set aside,"
        f" {free_bytes >> 20} MiB are free"
    )
    hint = ""
    if free_bytes < settings.longest_bytes:
        hint = "less is free than spool.longest_bytes: make room"
    elif waiting >= settings.most_clips / 2:
        hint = "more than half full: does earmark send run, and does the archive acknowledge?"
    elif lost:
        hint = "earmark send --release brings back what was set aside"
    return Check("spool").finding(
        "warn" if hint else "ok", text, hint, waiting=waiting, lost=lost, free_bytes=free_bytes
    )


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
        return Check("broker").fail_with(error)
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
