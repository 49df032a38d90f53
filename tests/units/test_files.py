"""Checks of the installed files by Debian 13's systemd and udev."""

import re

import pytest

from tests.units.machine import Machine
from tests.units.transcript import Transcript

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

UNITS = {"hear": 1.0, "send": 1.5, "archive": 1.5}


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
        *("/var/lib/earmark", "/var/lib/earmark/spool", "/var/lib/earmark/send"),
        "/var/lib/earmark-archive",
    )

    assert found.splitlines() == [
        "/etc/earmark/tls 700 root root",
        "/etc/earmark/archive 700 root root",
        "/var/lib/earmark 2710 earmark-hear earmark-spool",
        "/var/lib/earmark/spool 2770 earmark-hear earmark-spool",
        "/var/lib/earmark/send 2710 earmark-send earmark-spool",
        "/var/lib/earmark-archive 700 earmark-archive earmark-archive",
    ]
