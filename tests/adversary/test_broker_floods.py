"""Floods of messages: a real mosquitto with the household's files, and local datagrams."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil
import pytest

from listener.config import BrokerSettings, SpoolSettings
from listener.doctor import installation
from listener.household import identity
from listener.household.broker_config import MOST_MEMORY_BYTES
from listener.household.state import HouseholdStore
from listener.ipc.datagrams import MOST_AT_ONCE, Inbox
from listener.spool.queue import Spool
from tests.adversary import connection_floods as floods
from tests.conftest import Household
from tests.system.conftest import Earmark, Mosquitto, earmark, free_port, mosquitto, wait_until

__all__ = ["earmark", "free_port", "mosquitto"]  # fixtures of tests/system

pytestmark = pytest.mark.system

FLOOD_S = 6.0
CLIPS = 5
KITCHEN = identity.device("kitchen")


@dataclass
class FloodedBroker:
    """mosquitto with the household's files, a speaker and an archive."""

    mosquitto: Mosquitto
    earmark: Earmark
    certificates: Path
    home: Path
    household: Household
    config: Path

    def settings(self, who: identity.HouseholdIdentity) -> BrokerSettings:
        folder = self.certificates
        return BrokerSettings(
            host="localhost",
            port=self.mosquitto.port,
            ca_file=f"{folder}/ca.crt",
            certificate_file=f"{folder}/{who.cn}.crt",
            key_file=f"{folder}/{who.cn}.key",
        )

    def configure(self, who: identity.HouseholdIdentity) -> None:
        settings = msgspec.to_builtins(self.settings(who))
        used = ("host", "ca_file", "certificate_file", "key_file")
        lines = "".join(f'broker.{key} = "{settings[key]}"\n' for key in used)
        self.config.write_text(
            f'device.name = "hall"\nbroker.port = {self.mosquitto.port}\n'
            f"spool.retry_s = 0.5\n{lines}"
        )

    def start_archive(self) -> None:
        self.configure(identity.ARCHIVE)
        self.earmark.start("archive")
        wait_until((self.home / "archive.sock").exists, "the archive's socket is there")

    def deliver(self) -> str:
        """Send a clip from the speaker in the hall; return what send printed."""
        header = self.household.header(self.household.home.next_seq())
        data = self.household.seal(header)
        Spool(self.home / "spool", SpoolSettings()).put(header.clip, "ada", header.seq, data)
        self.configure(identity.device("hall"))
        told = self.earmark.run("send", "--once", "--patience", "30")
        return told.stdout + told.stderr

    def retained(self) -> int:
        """Return the number of retained messages, as doctor reads it."""
        finding = installation.check_broker(self.settings(identity.device("bath")))
        return int(finding.facts["retained"])

    def process(self) -> psutil.Process:
        return next(
            child
            for child in psutil.Process().children()
            if child.name() == "mosquitto" and child.status() != psutil.STATUS_ZOMBIE
        )


@pytest.fixture
def broker(
    mosquitto: Mosquitto, earmark: Earmark, household: Household, home: Path, tmp_path: Path
) -> FloodedBroker:
    office = HouseholdStore(home)
    office.set_up(
        lambda before: msgspec.structs.replace(
            before, hosts=("localhost", "127.0.0.1"), port=mosquitto.port
        )
    )
    folder = tmp_path / "certificates"
    for name in ("hall", "kitchen", "bath"):
        office.issue(identity.device(name), folder)
    office.issue(identity.ARCHIVE, folder)
    office.publish()
    mosquitto.start_with(office.published().broker)
    return FloodedBroker(mosquitto, earmark, folder, home, household, tmp_path / "earmark.toml")


def kitchen(broker: FloodedBroker) -> floods.BrokerLogin:
    return floods.BrokerLogin(broker.mosquitto.port, KITCHEN.cn, broker.certificates)


def test_retained_clips_of_a_device_are_removed_while_others_deliver(
    broker: FloodedBroker,
) -> None:
    broker.start_archive()
    with floods.running(floods.retained_messages, kitchen(broker), FLOOD_S) as begun:
        told = [broker.deliver() for _ in range(CLIPS)]
        wait_until(lambda: not begun.is_running, "the flood has ended")
        counts = begun.stop()

    assert told == ["sent 1, quarantined 0, waiting 0\n"] * CLIPS
    assert counts.published > 10
    assert broker.process().memory_info().rss < MOST_MEMORY_BYTES + (32 << 20)
    wait_until(lambda: broker.retained() < 100, "what was retained is removed")
    assert "Traceback" not in broker.earmark.said("archive")


def test_broker_stays_within_its_memory_and_delivers_again_without_restart(
    broker: FloodedBroker,
) -> None:
    flood = floods.retained_messages(kitchen(broker), 20.0)  # the archive is away
    rss = broker.process().memory_info().rss

    broker.start_archive()
    told = broker.deliver()

    assert flood.published > 10
    assert rss < MOST_MEMORY_BYTES + (32 << 20)
    assert told == "sent 1, quarantined 0, waiting 0\n"
    wait_until(lambda: broker.retained() < 100, "what was retained is removed")


def test_reader_returns_during_a_flood_of_datagrams(tmp_path: Path) -> None:
    path = tmp_path / "reader.sock"
    inbox = Inbox(path, 64)
    try:
        with floods.running(floods.datagrams, path):
            read: list[int] = []
            while sum(read) < 5000:
                read.append(len(list(inbox.receive())))
    finally:
        inbox.close()

    assert max(read) <= MOST_AT_ONCE
