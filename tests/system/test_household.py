"""A household from init over join and use with TLS to revocation."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pyrage
import pytest

from listener import config
from listener.config import SpoolSettings, parse_settings
from listener.envelope import keys
from listener.hear.key_rotation import RosterUpdater
from listener.household import identity
from listener.household.state import HouseholdStore
from listener.mqtt.client import ConnectedEvent, Message
from listener.mqtt.paho_client import PahoBroker
from listener.spool.queue import Spool
from listener.storage.home import Home
from tests.conftest import Household
from tests.household import fake_home_assistant
from tests.system.conftest import Earmark

if TYPE_CHECKING:
    from tests.system.conftest import Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]


class Place:
    """One computer of the home, with its own folder and settings."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.home = folder / "home"
        self.settings = folder / "earmark.toml"
        self.settings.write_text("")
        self.earmark = Earmark(self.home, self.settings)

    def must(self, *words: str) -> subprocess.CompletedProcess[str]:
        told = self.earmark.run(*words)
        assert told.returncode == 0, told.stderr
        return told

    def join(self, host: "Place", *invite: str) -> None:
        """Come as a guest while the host waits."""
        with subprocess.Popen(
            host.earmark.command("household", *invite),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting:
            assert waiting.stdout is not None
            assert waiting.stderr is not None
            line = next(text for text in waiting.stdout if text.startswith("earmark-join-1:"))
            next(text for text in waiting.stderr if "waiting for" in text)
            self.settings.unlink()
            joined = subprocess.run(
                [
                    *self.earmark.command("household")[:4],
                    *("--home", str(self.home), "join", line.strip()),
                    *("--settings", str(self.settings)),
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=100,
            )
            assert joined.returncode == 0, joined.stderr
            assert waiting.wait(100) == 0


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "archive")
    yield made
    made.earmark.end()


@pytest.fixture
def speaker(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "speaker")
    yield made
    made.earmark.end()


def confirm(place: Place, identity_: pyrage.x25519.Identity) -> None:
    """Decrypt the challenge, as `age -d` would."""
    challenge = place.must("owner", "challenge", "ada").stdout.encode()
    answer = pyrage.decrypt(challenge, [identity_]).decode().strip()
    place.must("owner", "confirm", "ada", answer)


def seal(speaker: Place, secret: str) -> str:
    """Put a clip of ada's into the speaker's spool, as hear does; return its id."""
    home = Home(speaker.home)
    sealing = Household(home, home.device_key(), {"ada": secret})
    header = sealing.header(home.next_seq())
    data = sealing.seal(header)
    Spool(speaker.home / "spool", SpoolSettings()).put(header.clip, "ada", header.seq, data)
    return header.clip


def test_household_from_init_to_revoked_speaker(
    archive: Place, tmp_path: Path, mosquitto: "Mosquitto", free_port: int, wait_until: Wait
) -> None:
    ada = pyrage.x25519.Identity.generate()
    speaker, computer = Place(tmp_path / "speaker"), Place(tmp_path / "computer")

    # Set up, and again: the second time there is nothing to do.
    ports = ("--port", str(free_port), "--join-port", str(other_port(free_port)))
    init = ("household", "init", "--host", "localhost", *ports)
    made = archive.must(*init).stdout
    archive.settings.write_text(made[made.index("[broker]") :])
    assert archive.must(*init).stdout == "nothing to change\n"

    speaker.join(archive, "add-device", "hall", "--area", "Hall")
    computer.join(archive, "add-owner", "ada", "--key", str(ada.to_public()))
    confirm(archive, ada)
    speaker.must("owner", "add", "ada", "--key", str(ada.to_public()))
    confirm(speaker, ada)

    mosquitto.start_with(archive.home / "household" / "mosquitto")
    archive.earmark.start("archive")
    first = seal(speaker, str(ada))
    sent = speaker.earmark.run("send", "--once", "--patience", "20")
    assert sent.stdout == "sent 1, quarantined 0, waiting 0\n", sent.stderr
    assert first in archive.must("archive", "list").stdout
    assert archive.must("household", "announce").stdout.startswith("1 speaker: 1 added")
    assert archive.must("household", "announce").stdout.startswith("1 speaker: 0 added or changed")

    # The member receives what the access list grants: the status of the speaker.
    status = heard(computer, "earmark/v1/status/hall")
    assert json.loads(status.payload) == {"state": "offline"}

    # Thrown out: neither its certificate nor its signature counts.
    archive.must("household", "revoke", "d-hall")
    assert (
        archive.must("household", "announce").stdout
        == "0 speakers: 0 added or changed, 1 removed\n"
    )
    second = seal(speaker, str(ada))
    mosquitto.reload()

    def is_refused() -> bool:
        told = speaker.earmark.run("send", "--once", "--patience", "1")
        return told.returncode == 69 and "no connection to the broker" in told.stderr

    wait_until(is_refused, "the revoked speaker is refused")
    assert second not in archive.must("archive", "list").stdout
    waiting = Spool(speaker.home / "spool", SpoolSettings()).waiting()
    assert [entry.clip for entry in waiting] == [second]
    assert Home(archive.home).roster().devices == ()

    # And back, by a new line: what waited arrives.
    speaker.join(archive, "add-device", "hall")
    mosquitto.reload()
    sent = speaker.earmark.run("send", "--once", "--patience", "20")
    assert sent.stdout == "sent 1, quarantined 0, waiting 0\n", sent.stderr
    assert second in archive.must("archive", "list").stdout


def test_key_rotation_and_retention_reach_an_offline_speaker(
    archive: Place,
    speaker: Place,
    tmp_path: Path,
    mosquitto: "Mosquitto",
    free_port: int,
    wait_until: Wait,
) -> None:
    ada, following = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    computer = Place(tmp_path / "computer")
    ports = ("--port", str(free_port), "--join-port", str(other_port(free_port)))
    made = archive.must("household", "init", "--host", "localhost", *ports).stdout
    archive.settings.write_text(made[made.index("[broker]") :])
    speaker.join(archive, "add-device", "hall")
    computer.join(archive, "add-owner", "ada", "--key", str(ada.to_public()))
    confirm(archive, ada)
    speaker.must("owner", "add", "ada", "--key", str(ada.to_public()))
    confirm(speaker, ada)
    mosquitto.start_with(archive.home / "household" / "mosquitto")
    archive.earmark.start("archive")
    wait_until((archive.home / "archive.sock").exists, "the archive's socket is there")
    late, fresh = seal(speaker, str(ada)), seal(speaker, str(ada))
    (path,) = (speaker.home / "spool").glob(f"*{late}*")
    os.utime(path, (-2 * 86_400, -2 * 86_400))  # two days ago, in time that it was running

    # From the owner's computer, while the speaker is away; the join line verifies the signature.
    (tmp_path / "ada.key").write_text(str(ada))
    (tmp_path / "next.key").write_text(str(following))

    def clips(*words: str) -> str:
        mine = ("--owner", "ada", "--identity", str(tmp_path / "ada.key"))
        where = ("--archive", str(archive.home / "archive.sock"))
        return computer.must("clips", *words, *mine, *where).stdout

    clips("retention", "1")
    assert "the proof was sent" in clips("new-key", str(tmp_path / "next.key"))
    (tmp_path / "ada.key").write_text(f"{following}\n{ada}\n")
    clips("log", "--verify")
    kept = json.loads((computer.home / "clips" / "known.json").read_text())
    assert kept["archive"] is None, "the line named its key; nothing was believed at first sight"

    # It comes back: what waited too long is gone and counted, the rest arrives; then the new key.
    speaker.earmark.is_weighed = True
    speaker.earmark.start("send")
    wait_until((speaker.home / "spool" / "following.json").exists, "the proof is there")
    wait_until(lambda: fresh in archive.must("archive", "list").stdout, "the fresh clip is kept")
    assert late not in archive.must("archive", "list").stdout
    counts = Spool(speaker.home / "spool", SpoolSettings()).counts()
    assert (counts.expired, counts.dropped, counts.acked) == (1, 0, 1)
    home = Home(speaker.home)
    assert "which is retired" in clips("keys")
    roster = RosterUpdater(home, "hall", home.device_key())()
    assert roster.known_owner("ada").recipient == str(following.to_public())
    newest = seal(speaker, str(following))
    wait_until(lambda: newest in archive.must("archive", "list").stdout, "the new clip is kept")
    assert "hall: encrypts to the active key" in clips("keys")
    resident_bytes = psutil.Process(speaker.earmark.pid("send")).memory_info().rss
    assert resident_bytes <= 40 << 20, "it has checked a signature, and is small still"


def test_home_assistant_receives_speakers_on_its_connection(
    archive: Place, tmp_path: Path, mosquitto: "Mosquitto", free_port: int
) -> None:
    words = ("household", "init", "--host", "localhost", "--port", str(free_port))
    archive.must(*words)
    archive.must("household", "add-service", "home-assistant", "--to", str(tmp_path / "ha"))
    speaker = Home(tmp_path / "speaker")
    key = speaker.device_key().public_key()
    HouseholdStore(archive.home).issue(identity.device("hall"), tmp_path / "given")
    archive.must("household", "add-device", "hall", "--key", keys.device_text(key))
    mosquitto.start_with(archive.home / "household" / "mosquitto")

    archive.must("household", "announce")
    files = {part: f"{tmp_path}/ha/s-home-assistant.{part}" for part in ("crt", "key")}
    settings = config.BrokerSettings(
        host="localhost",
        port=free_port,
        ca_file=f"{tmp_path}/ha/ca.crt",
        certificate_file=files["crt"],
        key_file=files["key"],
    )
    message = first_of(PahoBroker(settings, "home-assistant"), "homeassistant/#")

    told = fake_home_assistant.check(message.topic, message.payload)
    assert message.retain
    assert told["device"]["serial_number"] == keys.device_id(key)
    assert len(told["components"]) > 10


def other_port(port: int) -> int:
    return port - 1 if port > 32_769 else port + 1


def heard(place: Place, pattern: str) -> Message:
    """Return the first that a place hears with its own certificate."""
    settings = parse_settings(place.settings.read_text(), "there").broker
    return first_of(PahoBroker(settings, "anything"), pattern)


def first_of(broker: PahoBroker, pattern: str) -> Message:
    broker.connect()
    until_s = time.monotonic() + 40
    try:
        while time.monotonic() < until_s:
            for happening in broker.poll(1.0):
                if isinstance(happening, ConnectedEvent):
                    broker.subscribe(pattern)
                if isinstance(happening, Message):
                    return happening
        pytest.fail(f"nothing was heard on {pattern}")
    finally:
        broker.close()
