"""send and archive on brokers with TLS, passwords, restricted rights, and MQTT 3.1.1 only."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.config import SpoolSettings
from listener.spool.queue import Spool

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]

AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
async def main():
    broker = Broker({
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{sys.argv[1]}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
        },
    })
    await broker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
def amqtt(free_port: int) -> Iterator[int]:
    """The broker that the demo embeds; it speaks 3.1.1 only."""
    with subprocess.Popen(
        [sys.executable, "-c", AMQTT, str(free_port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield free_port
        process.kill()


def put(home: Path, household: "Household") -> str:
    header = household.header(household.home.next_seq())
    data = household.seal(header)
    Spool(home / "spool", SpoolSettings()).put(header.clip, "ada", header.seq, data)
    return header.clip


def deliver(earmark: "Earmark", household: "Household", home: Path) -> None:
    """Send one clip through, from spool to archive."""
    clip = put(home, household)
    earmark.start("archive")

    told = earmark.run("send", "--once", "--verbose")

    assert (told.returncode, told.stdout) == (0, "sent 1, quarantined 0, waiting 0\n"), told.stderr
    assert clip in earmark.run("archive", "list").stdout


@pytest.mark.usefixtures("amqtt")
def test_broker_without_mqtt_5_is_used_with_3_1_1(
    earmark: "Earmark", household: "Household", home: Path
) -> None:
    deliver(earmark, household, home)


def configured(tmp_path: Path, **broker: str) -> None:
    config = tmp_path / "earmark.toml"
    lines = "".join(f'broker.{key} = "{value}"\n' for key, value in broker.items())
    config.write_text(config.read_text("utf-8") + lines, "utf-8")


def test_delivery_with_certificates_uses_tls(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    tmp_path: Path,
    pki: Path,
) -> None:
    configured(
        tmp_path,
        ca_file=f"{pki}/ca.pem",
        certificate_file=f"{pki}/d-hall.pem",
        key_file=f"{pki}/d-hall.key",
    )
    mosquitto.start(
        listener=f"cafile {pki}/ca.pem\ncertfile {pki}/broker.pem\nkeyfile {pki}/broker.key\n"
        "require_certificate true\nuse_identity_as_username true\ntls_version tlsv1.3"
    )

    deliver(earmark, household, household.home.path)


def test_broker_of_an_unknown_ca_receives_nothing(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    tmp_path: Path,
    pki: Path,
) -> None:
    configured(tmp_path, ca_file=f"{pki}/stranger.pem")
    mosquitto.start(
        listener=f"allow_anonymous true\ncertfile {pki}/broker.pem\nkeyfile {pki}/broker.key"
    )
    put(household.home.path, household)

    told = earmark.run("send", "--once", "--patience", "0.5")

    assert told.returncode == 69
    assert "certificate verification failed" in told.stderr


def test_device_without_rights_keeps_clips_and_reports_why(
    mosquitto: "Mosquitto", earmark: "Earmark", household: "Household", tmp_path: Path
) -> None:
    rights = tmp_path / "acl"
    rights.write_text("topic write earmark/v1/status/#\n", "utf-8")
    rights.chmod(0o600)
    mosquitto.start(f"acl_file {rights}")
    put(household.home.path, household)

    told = earmark.run("send", "--once", "--patience", "1")

    assert told.returncode == 69
    assert "the broker rejected a clip: Not authorized" in told.stderr
    assert Spool(household.home.path / "spool", SpoolSettings()).counts().quarantined == 0


def test_password_authentication_works(
    mosquitto: "Mosquitto", earmark: "Earmark", household: "Household", tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "hall", "sesame"],
        check=True,
    )
    mosquitto.start(listener=f"allow_anonymous false\npassword_file {passwords}")
    put(household.home.path, household)

    refused = earmark.run("send", "--once", "--patience", "0.5")
    assert refused.returncode == 69
    assert "Not authorized" in refused.stderr

    (tmp_path / "password").write_text("sesame\n", "utf-8")
    (tmp_path / "password").chmod(0o600)
    configured(tmp_path, username="hall", password_file=f"{tmp_path}/password")
    Spool(household.home.path / "spool", SpoolSettings()).remove(
        Spool(household.home.path / "spool", SpoolSettings()).waiting()[0]
    )
    deliver(earmark, household, household.home.path)
