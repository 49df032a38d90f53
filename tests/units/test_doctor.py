"""`earmark doctor` against the real units in a real systemd."""

import json
from typing import Any

import pytest

from tests.units.conftest import LIVE, House
from tests.units.machine import Machine

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]


def found(machine: Machine, check: str) -> list[dict[str, Any]]:
    said = machine.ask("earmark", "doctor", "--json").stdout.splitlines()
    return [line for line in map(json.loads, said) if line["check"] == check]


def test_doctor_accepts_the_installed_sandbox(machine: Machine) -> None:
    sandbox = found(machine, "sandbox")

    units = [line["facts"]["unit"] for line in sandbox]
    assert units[:2] == ["earmark-hear", "earmark-send"]
    assert {line["verdict"] for line in sandbox} == {"ok"}, sandbox


def test_doctor_reports_the_player_that_runs(house: House) -> None:
    machine = house.machine
    house.hear(LIVE)
    machine.run("systemctl", "restart", "earmark-play")

    [loudspeaker] = found(machine, "loudspeaker")
    running = [line["facts"]["unit"] for line in found(machine, "sandbox")]
    machine.run("systemctl", "stop", "earmark-play")
    [stopped] = found(machine, "loudspeaker")

    assert (loudspeaker["verdict"], stopped["verdict"]) == ("ok", "warn")
    assert "earmark-play" in running


def test_doctor_detects_a_drop_in_with_network(machine: Machine) -> None:
    drop_in = "/run/systemd/system/earmark-hear.service.d/doctor.conf"
    machine.write(drop_in, "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET\n")
    machine.run("systemctl", "daemon-reload")

    hear, send = found(machine, "sandbox")[:2]

    machine.run("rm", drop_in)
    machine.run("systemctl", "daemon-reload")
    assert (hear["verdict"], send["verdict"]) == ("fail", "ok")
    assert "PrivateNetwork=no" in hear["text"]
    assert "RestrictAddressFamilies=" in hear["text"]


def test_telemetry_is_off_in_the_service(machine: Machine) -> None:
    [line] = found(machine, "telemetry")

    assert line["verdict"] == "ok"
    assert "by its service" in line["text"]
