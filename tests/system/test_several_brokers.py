"""Speaker and archive on several real brokers, of which one is killed, hangs, or is not there."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
import pytest

from listener.config import SpoolSettings, parse_settings
from listener.mqtt.connection_record import read_record, record_path
from listener.spool.queue import Spool
from tests.ports import find_free_port
from tests.system.conftest import Mosquitto
from tests.system.test_household import Place, confirm, other_port, seal

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

Wait = Callable[..., None]


@pytest.fixture
def two(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[tuple[Mosquitto, Mosquitto]]:
    folder = tmp_path / "second"
    folder.mkdir()
    second = Mosquitto(mosquitto.program, folder, find_free_port())
    yield mosquitto, second
    second.resume()
    mosquitto.resume()
    second.kill()


@pytest.fixture
def hosts(two: tuple[Mosquitto, Mosquitto], tmp_path: Path) -> tuple[str, str]:
    addresses = (f"127.0.0.1:{two[0].port}", f"127.0.0.1:{two[1].port}")
    config = tmp_path / "earmark.toml"
    text = config.read_text() if config.exists() else 'device.name = "hall"\n'
    listed = ", ".join(f'"{one}"' for one in addresses)
    config.write_text(f"{text}broker.hosts = [{listed}]\n")
    return addresses


def put(home: Path, household: "Household") -> str:
    header = household.header(household.home.next_seq())
    data = household.seal(header)
    Spool(home / "spool", SpoolSettings()).put(header.clip, "ada", header.seq, data)
    return header.clip


def connected_to(home: Path) -> str:
    record = read_record(record_path(home / "send", "send"))
    return record.address if record is not None and record.connected else ""


def test_speaker_uses_whichever_broker_runs(
    earmark: "Earmark",
    household: "Household",
    home: Path,
    two: tuple[Mosquitto, Mosquitto],
    hosts: tuple[str, str],
    wait_until: Wait,
) -> None:
    def archived(clip: str) -> bool:
        return clip in earmark.run("archive", "list").stdout

    two[1].start()  # the preferred one is not there yet
    earmark.start("archive")
    earmark.start("send")
    clip = put(home, household)
    wait_until(lambda: archived(clip), "the clip goes by the second broker")
    assert connected_to(home) == hosts[1]

    two[0].start()
    two[1].kill()
    clip = put(home, household)
    wait_until(lambda: archived(clip), "the clip goes by the first broker")
    assert connected_to(home) == hosts[0]

    two[1].start()
    two[0].pause()  # its connections stay open
    clip = put(home, household)
    wait_until(lambda: archived(clip), "the clip leaves the silent broker", 120.0)
    assert connected_to(home) == hosts[1]
    assert earmark.kill("send", signal.SIGTERM) == 0
    assert earmark.kill("archive", signal.SIGTERM) == 0
    listed = earmark.run("archive", "list").stdout.splitlines()
    assert len(listed) == 3
    assert not list((home / "spool").glob("*.earmark"))


def test_household_has_files_for_each_broker(
    tmp_path: Path,
    two: tuple[Mosquitto, Mosquitto],
) -> None:
    archive, speaker = Place(tmp_path / "archive"), Place(tmp_path / "speaker")
    ada = pyrage.x25519.Identity.generate()
    ports = ("--port", str(two[0].port), "--join-port", str(other_port(two[0].port)))
    further = ("--broker", f"127.0.0.1:{two[1].port}")
    try:
        told = archive.must("household", "init", "--host", "localhost", *further, *ports).stdout
        folder = archive.home / "household" / "brokers" / "127.0.0.1"
        assert f"copy the files of {folder} to /etc/mosquitto/earmark on 127.0.0.1" in told
        archive.settings.write_text(told[told.index("[broker]") :])
        addresses = (f"localhost:{two[0].port}", f"127.0.0.1:{two[1].port}")
        settings = parse_settings(archive.settings.read_text(), "init").broker
        assert tuple(one.address for one in settings.each()) == addresses

        speaker.join(archive, "add-device", "hall")
        joined = parse_settings(speaker.settings.read_text(), "join").broker
        assert tuple(one.address for one in joined.each()) == addresses
        assert not (folder / "acl").read_text().count("s-broker")
        assert "user d-hall" in (folder / "acl").read_text()
        assert (folder / "crl.pem").read_bytes() == (
            archive.home / "household" / "mosquitto" / "crl.pem"
        ).read_bytes()

        archive.must("owner", "add", "ada", "--key", str(ada.to_public()))
        confirm(archive, ada)
        speaker.must("owner", "add", "ada", "--key", str(ada.to_public()))
        confirm(speaker, ada)
        configuration = folder / "earmark.conf"  # as if it were on its computer
        text = configuration.read_text().replace("/etc/mosquitto/earmark", str(folder))
        configuration.write_text(text)
        two[0].start_with(archive.home / "household" / "mosquitto")
        two[1].start_with(folder)
        archive.earmark.start("archive")
        first = seal(speaker, str(ada))
        speaker.must("send", "--once", "--patience", "30")
        told = archive.must("household", "announce").stdout
        assert told.startswith("1 speaker: 1 added")

        two[0].kill()
        second = seal(speaker, str(ada))
        speaker.must("send", "--once", "--patience", "30")
        listed = archive.must("archive", "list").stdout
        assert first in listed
        assert second in listed
        again = archive.earmark.run("household", "announce")
        assert again.returncode == 0, again.stderr
        assert "run the command again when it answers" in again.stderr
    finally:
        archive.earmark.end()
        speaker.earmark.end()
