"""The real units with the real program: up, working together as three users, and coming back."""

import time
from collections.abc import Iterator

import pytest

from listener.ipc import control, notice_socket
from tests.units.conftest import LIVE, PLAYED, House
from tests.units.machine import Machine
from tests.units.transcript import Transcript

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

UNITS = ("hear", "send", "archive")


@pytest.fixture
def speaker(house: House) -> Iterator[House]:
    """All three run, and a microphone that is not there is waited for."""
    machine = house.machine
    house.hear(LIVE)
    machine.run("systemctl", "restart", *(f"earmark-{unit}" for unit in UNITS))
    yield house
    machine.run("systemctl", "stop", *(f"earmark-{unit}" for unit in UNITS))
    machine.run("rm", "-rf", *(f"/run/systemd/system/earmark-{unit}.service.d" for unit in UNITS))
    machine.run("systemctl", "daemon-reload")
    machine.run("rm", "-f", "/var/lib/earmark/mute.json")


def change(machine: Machine, unit: str, *lines: str) -> None:
    """Add a drop-in that lasts until the test ends."""
    text = "[Service]\n" + "".join(f"{line}\n" for line in lines)
    machine.write(f"/run/systemd/system/earmark-{unit}.service.d/test.conf", text)
    machine.run("systemctl", "daemon-reload")


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_is_up_as_its_own_user(speaker: House, unit: str) -> None:
    machine = speaker.machine

    pid = machine.show(f"earmark-{unit}", "MainPID")

    assert machine.show(f"earmark-{unit}", "ActiveState") == "active"
    assert machine.show(f"earmark-{unit}", "NRestarts") == "0"
    assert machine.run("stat", "-c", "%U", f"/proc/{pid}/stat").strip() in {
        f"earmark-{unit}",
        "root",  # of a process that lets nobody look into it
    }
    lines = machine.read(f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0


def test_the_microphones_process_runs_inside(speaker: House) -> None:
    # It starts the interpreter, loads PortAudio, and finds no card: there is none here.
    speaker.machine.wait_until(
        lambda: "no sound from the microphone (missing)" in speaker.machine.said("earmark-hear"),
        "the microphone's process said what it found",
    )


def test_the_word_becomes_a_clip_in_the_archive(house: House, seen: Transcript) -> None:
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
        "a played wake word: sealed by hear, carried over TLS by send, kept by archive"
    )


def test_whoever_sends_may_mute(speaker: House) -> None:
    machine = speaker.machine
    script = (
        "import sys; from pathlib import Path; from listener import control;"
        f"sys.exit(not control.Controller(Path('/var/lib/earmark/{control.SOCKET}'))"
        ".send(control.Mute()))"
    )

    machine.run("/opt/earmark/current/bin/python3", "-c", script, user="earmark-send")

    machine.wait_until(
        lambda: '"software":true' in speaker.earmark("mute", "status", "--json"), "muted"
    )


def test_root_mutes_and_hear_can_take_it_back(speaker: House) -> None:
    machine = speaker.machine

    speaker.earmark("mute", "on")

    owner = machine.run("stat", "-c", "%U", "/var/lib/earmark/mute.json").strip()
    assert owner == "earmark-hear"
    machine.run("earmark", "mute", "off", user="earmark-hear")


def test_nobody_else_reaches_the_sockets(speaker: House) -> None:
    for path in (notice_socket.SOCKET, control.SOCKET):
        script = (
            "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
            f".sendto(b'x', '/var/lib/earmark/{path}')"
        )

        refused = speaker.machine.ask("python3", "-c", script, user="nobody")

        assert "PermissionError" in refused.stderr


def test_an_ear_that_hangs_is_started_again(speaker: House, seen: Transcript) -> None:
    machine = speaker.machine
    change(machine, "hear", "WatchdogSec=4", "RestartSec=100ms")
    machine.run("systemctl", "restart", "earmark-hear")
    # The loop pets it: it lives on for longer than the watchdog waits.
    time.sleep(6)
    assert machine.show("earmark-hear", "NRestarts") == "0"

    machine.run("systemctl", "kill", "--kill-whom=main", "--signal", "STOP", "earmark-hear")
    machine.wait_until(lambda: machine.show("earmark-hear", "NRestarts") == "1", "a new start")

    assert "earmark-hear.service: Watchdog timeout" in machine.said("earmark-hear")
    seen.flow.append("hear stopped by SIGSTOP: ended by the watchdog, and started again")


@pytest.mark.parametrize("unit", UNITS)
def test_a_killed_service_comes_back(speaker: House, unit: str) -> None:
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
def test_wrong_settings_end_it_once(speaker: House, unit: str, seen: Transcript) -> None:
    machine = speaker.machine
    change(machine, unit, "RestartSec=100ms")
    path = "/etc/earmark/archive.toml" if unit == "archive" else "/etc/earmark/earmark.toml"
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
        seen.flow.append("settings that are wrong: exit 78, and no start after that")
