"""Checks of an installation: keeper, device key, models, spool, and the connection to the broker.

Nothing is created. The broker is connected with the same client that send uses.
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
from listener.mqtt import topics
from listener.mqtt.client import Broker, ConnectedEvent, ConnectionLostEvent, Message
from listener.mqtt.paho_client import PahoBroker
from listener.mqtt.wait_reasons import UNKNOWN, WAIT_REASONS
from listener.quantities import quantity
from listener.spool.queue import Spool
from listener.spool.replays import MOST_REFUSALS
from listener.storage.home import Home
from listener.system.findings import Check, Finding
from listener.wakeword.manifest import Model

PATIENCE_S: Final = 8.0
"""Timeout for the broker's answer, in seconds."""
_SHARED_KEY: Final = (
    "if another machine was set up with this card, remove device.key there and add it as a new"
    " device; after a restored card, new clips get free numbers by themselves"
)
_NO_STATEMENT: Final = (
    "remove device.key and add this device again: without the archive's key (archive.pub, from"
    " joining) it cannot learn which numbers are used"
)
TRIES: Final = 2
"""Connection attempts; the second one uses the other version of MQTT, if the broker hung up."""

COUNT_S: Final = 1.0
"""Timeout for the number of retained messages; only mosquitto sends it."""
_LONGEST_COUNT: Final = 12
MOST_RETAINED: Final = 1000
"""A household with 100 devices has fewer; mosquitto counts its own 50 too."""


_SUSPENDED: Final = {
    "refusals": (
        "the archive refused 20 clips in a row",
        "find the cause in the archive's log, then run earmark send --release",
    ),
    "deferred": (
        "the archive defers them: the device is over its limits, or the archive compares clocks",
        "wait, or raise archive.clips_per_hour and archive.bytes_per_day at the archive",
    ),
}


def check_installation(config: Config) -> Iterator[Finding]:
    """Check keeper, key, models and spool.

    Args:
        config: of the installation; names its data directory.
    """
    home = Home(Path(config.home))
    yield check_keeper(home, config.attribution.keeper)
    yield _check_key(home)
    yield check_models(Catalogue(home.path), config.wake)
    yield from _check_spool(home, config.spool)


def check_broker(settings: BrokerSettings) -> Finding:
    """Connect to the broker and disconnect again.

    Args:
        settings: address, credentials and protocol version.
    """
    # Another client id than send's: a broker would close send's session.
    name = f"doctor-{secrets.token_hex(4)}"
    try:
        client = PahoBroker(settings, name)
    except EarmarkError as error:
        return Check("broker").fail_with(error)
    return try_connection(client, f"{settings.host}:{settings.port}", time.monotonic)


def try_connection(client: Broker, address: str, monotonic_s: Callable[[], float]) -> Finding:
    """Try to connect, and return the result.

    Args:
        client: not connected yet; closed afterwards.
        address: of the broker, for the finding.
        monotonic_s: a monotonic clock.
    """
    reason = "no answer"
    hint = ""
    until_s = monotonic_s() + PATIENCE_S
    try:
        for _ in range(TRIES):
            client.connect()
            while (left_s := until_s - monotonic_s()) > 0:
                events = client.poll(min(0.5, left_s))
                for event in events:
                    if isinstance(event, ConnectedEvent):
                        text = f"{address} answers, in MQTT {event.protocol}"
                        return _check_retained(client, text, monotonic_s)
                lost = [event for event in events if isinstance(event, ConnectionLostEvent)]
                if lost:
                    reason, hint = lost[-1].reason, lost[-1].hint
                    break
    finally:
        client.close()
    return Check("broker").fail(
        f"{address}: {reason}",
        hint or "start the broker, or correct broker.host and broker.port; clips wait in the spool",
    )


def _check_retained(client: Broker, text: str, monotonic_s: Callable[[], float]) -> Finding:
    """Check how many messages the broker retains; they fill its memory.

    Args:
        client: connected.
        text: the finding so far.
        monotonic_s: a monotonic clock.
    """
    client.subscribe(topics.RETAINED_COUNT)
    until_s = monotonic_s() + COUNT_S
    while (left_s := until_s - monotonic_s()) > 0:
        for event in client.poll(min(0.5, left_s)):
            if not isinstance(event, Message) or event.topic != topics.RETAINED_COUNT:
                continue
            if not (event.payload.isdigit() and len(event.payload) <= _LONGEST_COUNT):
                continue
            number = int(event.payload)
            if number > MOST_RETAINED:
                return Check("broker").warn(
                    f"{text}; it retains {quantity(number, 'message')}",
                    "see in the archive's log which device publishes retained clips, and revoke"
                    " it: earmark household revoke",
                    retained=number,
                )
            return Check("broker").ok(text, retained=number)
    return Check("broker").ok(text)


def check_keeper(home: Home, name: str | None) -> Finding:
    """Check that the keeper is an owner with a confirmed key.

    Args:
        home: the data directory.
        name: of the keeper, or None.
    """
    try:
        keeper = home.keeper(name)
    except EarmarkError as error:
        return Check("keeper").fail_with(error)
    return Check("keeper").ok(f"{keeper}, with a confirmed key")


def _check_key(home: Home) -> Finding:
    if not (home.path / "device.key").exists():
        return Check("key").ok("there is none yet; hear generates it at its first start")
    try:
        home.device_key()
    except EarmarkError as error:
        return Check("key").fail_with(error)
    return Check("key").ok("the device key exists, and only its user can read it")


def check_models(catalogue: Catalogue, settings: WakeSettings) -> Finding:
    """Check that the models of the wake words are the files of their manifests.

    Args:
        catalogue: of the models.
        settings: names the wake words.
    """
    try:
        models = [catalogue.load(name) for name in settings.words]
        catalogue.embedding()
        catalogue.speech()
        first_stage = catalogue.first_stage(models) if settings.first_stage else None
    except EarmarkError as error:
        return Check("models").fail_with(error)
    words = ", ".join(settings.words)
    if settings.first_stage and first_stage is None:
        return Check("models").finding(
            "warn",
            f"wake.first_stage has no effect: no first stage was trained for all of {words}",
            "tune it for your own word: earmark train PHRASE --first-stage; or set"
            " wake.first_stage = false",
        )
    used = "" if first_stage is None else f"; first stage: {_describe_first_stage(first_stage)}"
    return Check("models").ok(f"{words}: each file matches the hash in its manifest{used}")


def _describe_first_stage(first_stage: Model) -> str:
    """Return the name of a first stage, and what its losses were measured on, if not on people."""
    is_real = first_stage.manifest.figures.get("real_people_measured", True)
    return (
        first_stage.name if is_real else f"{first_stage.name}, measured on synthetic speech alone"
    )


def _check_spool(home: Home, settings: SpoolSettings) -> Iterator[Finding]:
    folder = home.path / "spool"
    yield _check_waiting(folder, settings)
    try:
        is_pinned = home.pinned_archive() is not None
    except EarmarkError as error:
        yield Check("archive").fail_with(error)
        return
    if replays := sum(times > 0 for times in _read_quarantine(Spool(folder, settings)).values()):
        yield Check("replays").finding(
            "warn",
            f"{quantity(replays, 'clip has a number', 'clips have numbers')} that other clips of"
            " this speaker have, and cannot be stored: its card was restored from a copy, or"
            " another machine has its key",
            _SHARED_KEY if is_pinned else _NO_STATEMENT,
            replays=replays,
        )


def _read_quarantine(spool: Spool) -> dict[str, int]:
    try:
        return spool.quarantined()
    except OSError:
        return {}  # it belongs to send's user


def _check_waiting(folder: Path, settings: SpoolSettings) -> Finding:
    # The nearest parent that exists: missing folders are made when they are needed.
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK) or not stat.S_ISDIR(parent.stat().st_mode):
        return Check("spool").fail(
            f"{parent} cannot be written: every clip would be lost",
            "run doctor as the user that runs hear, or make that user the folder's owner",
        )
    spool = Spool(folder, settings)
    try:
        waiting, counts, quarantined = len(spool.waiting()), spool.counts(), spool.quarantined()
    except (OSError, EarmarkError) as error:
        return Check("spool").fail(f"{folder} cannot be read: {error}")
    free = os.statvfs(parent)
    free_bytes = free.f_bavail * free.f_frsize
    lost = counts.dropped + counts.refused + len(quarantined)
    erased = (
        f" {quantity(counts.erased, 'was', 'were')} erased on arrival," if counts.erased else ""
    )
    text = (
        f"{quantity(waiting, 'clip waits', 'clips wait')},"
        f" {quantity(lost, 'was', 'were')} dropped, refused or quarantined,"
        f"{erased}"
        f" {free_bytes >> 20} MiB are free"
    )
    hint = ""
    if (suspended := _SUSPENDED.get(spool.suspended())) is not None:
        text = f"send publishes no clips: {suspended[0]}; {text}"
        hint = suspended[1]
    elif reason := spool.not_stored():
        waits = WAIT_REASONS.get(reason, UNKNOWN)
        text, hint = f"clips are not stored: {waits.text}; {text}", waits.hint
    elif free_bytes < settings.longest_bytes:
        hint = "make room on the disk: less is free than spool.longest_bytes"
    elif waiting >= settings.most_clips / 2:
        hint = "check that earmark send and the archive run: the spool is more than half full"
    elif any(refusals < MOST_REFUSALS for refusals in quarantined.values()):
        hint = "run earmark send --release to restore quarantined clips"
    return Check("spool").finding(
        "warn" if hint else "ok", text, hint, waiting=waiting, lost=lost, free_bytes=free_bytes
    )
