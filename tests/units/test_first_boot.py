"""The first-boot unit in its sandbox, with files on the boot partition."""

from collections.abc import Iterator

import pyrage
import pytest

from tests.units.conftest import ARCHIVE, LIVE, House
from tests.units.machine import Machine

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

UNIT = "earmark-first-boot"
CARD = "/boot/firmware"


@pytest.fixture
def speaker(house: House) -> Iterator[Machine]:
    """A speaker with an empty boot partition."""
    machine = house.machine
    house.hear(LIVE)
    machine.run("mkdir", "-p", CARD)
    yield machine
    machine.run("systemctl", "stop", UNIT, "earmark-hear", "earmark-send")
    machine.run("rm", "-rf", CARD, "/etc/earmark/first-boot")
    machine.ask("earmark", "owner", "forget", "bob")


def result(machine: Machine) -> str:
    return " ".join(machine.read(f"{CARD}/earmark-result.txt").split())


def test_empty_boot_partition_starts_nothing(speaker: Machine) -> None:
    speaker.run("systemctl", "start", UNIT)

    assert speaker.show(UNIT, "ConditionResult") == "no"


def test_card_configures_the_speaker_and_confirms_the_owner(speaker: Machine) -> None:
    bob = pyrage.x25519.Identity.generate()
    speaker.write(
        f"{CARD}/earmark.toml",
        f'[owner]\nname = "bob"\nkey = "{bob.to_public()}"\n[clip]\nkeep_days = 7\n',
    )

    speaker.run("systemctl", "start", UNIT)

    assert "one step is left for you" in result(speaker)
    assert speaker.run("ls", CARD).split() == ["earmark-challenge.txt", "earmark-result.txt"]
    challenge = speaker.read(f"{CARD}/earmark-challenge.txt").encode()
    answer = pyrage.decrypt(challenge, [bob]).decode().strip()
    speaker.write(f"{CARD}/earmark.toml.txt", f'[owner]\r\nanswer = "{answer}"\r\n')
    speaker.run("systemctl", "start", UNIT)

    assert "this speaker is set up" in result(speaker)
    assert speaker.run("ls", CARD).split() == ["earmark-result.txt"]
    config = speaker.read("/etc/earmark/earmark.toml")
    assert 'keeper = "bob"' in config
    assert "keep_days = 7" in config
    # Files of the unit belong to the users that need them.
    stat = speaker.run("stat", "-c", "%a %U", "/etc/earmark/earmark.toml").split()
    assert stat == ["644", "root"]
    roster = speaker.run("stat", "-c", "%a %U", "/var/lib/earmark/roster.json").split()
    assert roster == ["600", "earmark-hear"]
    speaker.wait_until(
        lambda: speaker.show("earmark-hear", "ActiveState") == "active",
        "hear with the new configuration",
    )


def test_wrong_file_is_reported_and_not_retried(speaker: Machine) -> None:
    speaker.write(f"{CARD}/earmark.toml", '[wake]\nword = "alexa"\n')

    assert speaker.ask("systemctl", "start", UNIT).returncode != 0

    assert "did you mean wake.words?" in result(speaker)
    assert speaker.show(UNIT, "ActiveState") == "failed"
    assert "word" in speaker.read(f"{CARD}/earmark.toml")


def test_household_that_starts_late_is_joined(speaker: Machine) -> None:
    invited = ("earmark", "household", "add-device", *ARCHIVE, "--no-wait", "hall")
    line = speaker.run(*invited).strip()
    drop_in = f"/run/systemd/system/{UNIT}.service.d"
    speaker.write(f"{drop_in}/test.conf", "[Service]\nRestartSec=1\n")
    speaker.run("systemctl", "daemon-reload")
    speaker.write(f"{CARD}/earmark.toml", f'[household]\nline = "{line}"\n')

    speaker.ask("systemctl", "start", UNIT)
    speaker.wait_until(lambda: "the setup is not complete yet" in result(speaker), "that it waits")
    assert line not in speaker.run("grep", "-r", "", CARD)
    with speaker.start("earmark", "household", "wait", *ARCHIVE) as waiting:
        speaker.wait_until(lambda: "this speaker is set up" in result(speaker), "that it joined")
        waiting.communicate()

    assert "joined the household as d-hall" in result(speaker)
    key = speaker.run("stat", "-c", "%a %U", "/etc/earmark/tls/me.key").split()
    assert key == ["600", "root"]
    speaker.run("systemctl", "kill", "--signal", "HUP", "mosquitto")
    speaker.wait_until(
        lambda: speaker.show("earmark-send", "ActiveState") == "active", "send with its certificate"
    )
    speaker.run("rm", "-r", drop_in)
    speaker.run("systemctl", "daemon-reload")
