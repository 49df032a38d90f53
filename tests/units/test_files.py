"""Checks of the installed files by Debian 13's systemd and udev."""

import re

import pytest

from tests.units.machine import Machine
from tests.units.transcript import Transcript

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

UNITS = {"hear": 0.4, "send": 1.0, "play": 1.0, "archive": 1.0, "assist": 2.0}
"""Greatest exposure of each unit."""


def test_systemd_analyze_verifies_the_installed_units(machine: Machine) -> None:
    paths = [f"/usr/lib/systemd/system/earmark-{unit}.service" for unit in UNITS]

    told = machine.ask("systemd-analyze", "verify", "--man=no", *paths)

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS)
def test_exposure_is_low(machine: Machine, unit: str, seen: Transcript) -> None:
    path = f"/usr/lib/systemd/system/earmark-{unit}.service"

    told = machine.run("systemd-analyze", "security", "--no-pager", "--offline=yes", path)

    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", told)
    assert found
    assert float(found[1]) <= UNITS[unit]
    seen.scores[unit] = found[1]


def test_udevadm_verifies_the_rules(machine: Machine) -> None:
    machine.run("cp", "/usr/lib/earmark/71-earmark-card.rules.in", "/run/71-card.rules")

    machine.run("udevadm", "verify", "/usr/lib/udev/rules.d/70-earmark.rules", "/run/71-card.rules")


def test_users_and_folders_exist_after_boot(machine: Machine) -> None:
    found = machine.run(
        *("stat", "-c", "%n %a %U %G", "/etc/earmark/tls", "/etc/earmark/archive"),
        *("/etc/earmark/assist", "/var/lib/earmark-assist"),
        *("/var/lib/earmark", "/var/lib/earmark/spool", "/var/lib/earmark/send"),
        *("/var/lib/earmark-archive", "/var/lib/earmark-archive-public"),
        *("/run/earmark-voice", "/run/earmark-voice/copies", "/run/earmark-voice/replies"),
    )

    assert found.splitlines() == [
        "/etc/earmark/tls 700 root root",
        "/etc/earmark/archive 700 root root",
        "/etc/earmark/assist 700 root root",
        "/var/lib/earmark-assist 700 earmark-assist earmark-assist",
        "/var/lib/earmark 2710 earmark-hear earmark-spool",
        "/var/lib/earmark/spool 2770 earmark-hear earmark-spool",
        "/var/lib/earmark/send 2710 earmark-send earmark-spool",
        "/var/lib/earmark-archive 700 earmark-archive earmark-archive",
        "/var/lib/earmark-archive-public 2750 earmark-archive earmark-assist",
        "/run/earmark-voice 3770 earmark-hear earmark-voice",
        "/run/earmark-voice/copies 2770 earmark-hear earmark-voice",
        "/run/earmark-voice/replies 2770 earmark-send earmark-voice",
    ]


def test_voice_folder_is_in_memory_and_no_unit_may_swap(machine: Machine) -> None:
    kind = machine.run("stat", "-f", "-c", "%T", "/run/earmark-voice").strip()
    swap = {unit: machine.show(f"earmark-{unit}", "MemorySwapMax") for unit in UNITS}

    assert kind == "tmpfs"
    assert swap == dict.fromkeys(UNITS, "0")


def test_only_the_households_computer_enables_archive_and_assist(machine: Machine) -> None:
    states = {
        unit: machine.ask("systemctl", "is-enabled", f"earmark-{unit}").stdout.strip()
        for unit in UNITS
    }

    assert states == {
        "hear": "enabled",
        "send": "enabled",
        "play": "enabled",
        "archive": "disabled",
        "assist": "disabled",
    }
