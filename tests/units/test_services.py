"""The real units with the real program: start, cooperation of the users, and restart."""

import time
from collections.abc import Iterator

import pytest

from listener.ipc import control, notice_socket
from tests.units.conftest import ASSIST_TOML, LIVE, PLAYED, VERBS, House
from tests.units.machine import Machine
from tests.units.transcript import Transcript

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

UNITS = VERBS
CONFIGURED_BY = {"archive": "/etc/earmark/archive.toml", "assist": ASSIST_TOML}
"""Configuration of the services that do not read /etc/earmark/earmark.toml."""


@pytest.fixture
def speaker(house: House) -> Iterator[House]:
    """Every service, running; hear waits for a microphone that is missing."""
    machine = house.machine
    house.hear(LIVE)
    machine.run("systemctl", "restart", *(f"earmark-{unit}" for unit in UNITS))
    yield house
    machine.run("systemctl", "stop", *(f"earmark-{unit}" for unit in UNITS))
    machine.run("rm", "-rf", *(f"/run/systemd/system/earmark-{unit}.service.d" for unit in UNITS))
    machine.run("systemctl", "daemon-reload")
    machine.run("rm", "-f", "/var/lib/earmark/mute.json")


def change(machine: Machine, unit: str, *lines: str) -> None:
    """Add a drop-in for the rest of the test."""
    text = "[Service]\n" + "".join(f"{line}\n" for line in lines)
    machine.write(f"/run/systemd/system/earmark-{unit}.service.d/test.conf", text)
    machine.run("systemctl", "daemon-reload")


@pytest.mark.parametrize("unit", UNITS)
def test_service_runs_as_its_own_user(speaker: House, unit: str) -> None:
    machine = speaker.machine

    pid = machine.show(f"earmark-{unit}", "MainPID")

    assert machine.show(f"earmark-{unit}", "ActiveState") == "active"
    assert machine.show(f"earmark-{unit}", "NRestarts") == "0"
    assert machine.run("stat", "-c", "%U", f"/proc/{pid}/stat").strip() in {
        f"earmark-{unit}",
        "root",  # of a process that is not dumpable
    }
    lines = machine.read(f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0


def test_microphone_process_runs_in_the_sandbox(speaker: House) -> None:
    # It starts the interpreter, loads PortAudio, and finds no sound card on this machine.
    speaker.machine.wait_until(
        lambda: "no sound from the microphone (missing)" in speaker.machine.said("earmark-hear"),
        "the report of the microphone process",
    )


def test_wake_word_becomes_a_clip_in_the_archive(house: House, seen: Transcript) -> None:
    machine = house.machine
    machine.run("systemctl", "start", "earmark-send", "earmark-archive")
    before = len(house.archived())
    house.hear(PLAYED)

    machine.run("systemctl", "restart", "earmark-hear")
    machine.wait_until(lambda: len(house.archived()) > before, "a clip in the archive")

    machine.wait_until(
        lambda: ".earmark" not in machine.run("ls", "/var/lib/earmark/spool"), "an empty spool"
    )
    modes = machine.run("stat", "-c", "%n %a %U %G", "/var/lib/earmark/spool/counts").split()
    assert modes[1:] == ["660", "earmark-hear", "earmark-spool"]
    machine.run("systemctl", "stop", "earmark-hear", "earmark-send", "earmark-archive")
    seen.flow.append(
        "a played wake word: encrypted by hear, sent over TLS by send, stored by archive"
    )


def test_send_user_can_mute(speaker: House) -> None:
    machine = speaker.machine
    script = (
        "import sys; from pathlib import Path; from listener.ipc import control;"
        f"sys.exit(not control.ControlClient(Path('/var/lib/earmark/{control.SOCKET}'))"
        ".send(control.MuteRequest()))"
    )

    machine.run("/opt/earmark/current/bin/python3", "-c", script, user="earmark-send")

    machine.wait_until(
        lambda: '"software":true' in speaker.earmark("mute", "status", "--json"), "muted"
    )


def test_mute_by_root_can_be_lifted_by_hear(speaker: House) -> None:
    machine = speaker.machine

    speaker.earmark("mute", "on")

    owner = machine.run("stat", "-c", "%U", "/var/lib/earmark/mute.json").strip()
    assert owner == "earmark-hear"
    machine.run("earmark", "mute", "off", user="earmark-hear")


def test_other_users_cannot_reach_the_sockets(speaker: House) -> None:
    for path in (notice_socket.SOCKET, control.SOCKET):
        script = (
            "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
            f".sendto(b'x', '/var/lib/earmark/{path}')"
        )

        refused = speaker.machine.ask("python3", "-c", script, user="nobody")

        assert "PermissionError" in refused.stderr


def test_watchdog_restarts_a_hanging_hear(speaker: House, seen: Transcript) -> None:
    machine = speaker.machine
    change(machine, "hear", "WatchdogSec=4", "RestartSec=100ms")
    machine.run("systemctl", "restart", "earmark-hear")
    # The main loop pings the watchdog, so hear outlives its timeout.
    time.sleep(6)
    assert machine.show("earmark-hear", "NRestarts") == "0"

    machine.run("systemctl", "kill", "--kill-whom=main", "--signal", "STOP", "earmark-hear")
    machine.wait_until(lambda: machine.show("earmark-hear", "NRestarts") == "1", "a new start")

    assert "earmark-hear.service: Watchdog timeout" in machine.said("earmark-hear")
    seen.flow.append("hear stopped by SIGSTOP: killed by the watchdog, and restarted")


@pytest.mark.parametrize("unit", UNITS)
def test_killed_service_is_restarted(speaker: House, unit: str) -> None:
    machine = speaker.machine
    change(machine, unit, "RestartSec=100ms")
    machine.run("systemctl", "restart", f"earmark-{unit}")

    machine.run("systemctl", "kill", "--kill-whom=main", "--signal", "KILL", f"earmark-{unit}")

    machine.wait_until(
        lambda: (
            machine.show(f"earmark-{unit}", "NRestarts") == "1"
            and machine.show(f"earmark-{unit}", "ActiveState") == "active"
        ),
        "a new start",
    )


@pytest.mark.parametrize("unit", UNITS)
def test_wrong_configuration_stops_without_restart(
    speaker: House, unit: str, seen: Transcript
) -> None:
    machine = speaker.machine
    change(machine, unit, "RestartSec=100ms")
    path = CONFIGURED_BY.get(unit, "/etc/earmark/earmark.toml")
    right = machine.read(path)
    machine.write(path, "[brokre]\n")

    machine.ask("systemctl", "restart", f"earmark-{unit}")
    time.sleep(1)

    machine.write(path, right)
    assert machine.show(f"earmark-{unit}", "ActiveState") == "failed"
    assert machine.show(f"earmark-{unit}", "ExecMainStatus") == "78"
    assert machine.show(f"earmark-{unit}", "NRestarts") == "0"
    machine.run("systemctl", "reset-failed", f"earmark-{unit}")
    if unit == UNITS[0]:
        seen.flow.append("wrong configuration: exit 78, and no restart")
