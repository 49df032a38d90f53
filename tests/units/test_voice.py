"""A spoken command under the real units: hear, the folder in memory, send, the broker, assist."""

import base64
import io
import json
import time
from typing import Any

import numpy as np
import pyrage
import pytest
import soundfile

from listener.voice.command_copy import parse_copy
from tests.units.conftest import ASSIST_TOML, SAID, House
from tests.units.machine import ROOT, Machine
from tests.units.transcript import Transcript

pytestmark = [pytest.mark.units, pytest.mark.timeout(600)]

COPIES = "/run/earmark-voice/copies"
SERVICES = ("earmark-assist", "earmark-play", "earmark-send", "earmark-hear")
ON_DISK = ("/var/lib/earmark", "/var/lib/earmark-assist", "/var/tmp", "/tmp", "/etc/earmark")  # noqa: S108 - watched
QUIET = "/usr/share/earmark/quiet.flac"
QUIET_S = 60
"""Time for which hear still runs after the command."""
SLICE_BYTES = 64
BUSY_S = 4
"""Time after its start in which assist answers that it is busy: 3.52 s."""


def allow(house: House) -> None:
    """Let ada allow voice control at the speaker, to the key that assist prints."""
    assist = json.loads(house.earmark("assist", "key", "--config", ASSIST_TOML, "--json"))["key"]
    words = ("owner", "voice", "on", "ada", "--assist", assist)
    challenge = house.earmark(*words).encode()
    answer = pyrage.decrypt(challenge, [house.ada]).decode().strip()
    house.earmark(*words, "--answer", answer)


def watched(machine: Machine, house: House) -> dict[str, bytes]:
    """Play the command, and return every file that was made meanwhile, with its bytes."""
    quiet = io.BytesIO()
    soundfile.write(quiet, np.zeros(QUIET_S * 16_000, np.int16), 16_000, format="FLAC")
    machine.put(QUIET, quiet.getvalue())
    watcher = (ROOT / "tests" / "units" / "watcher.py").read_text()
    machine.write("/opt/earmark/watcher.py", watcher)
    with machine.start("python3", "/opt/earmark/watcher.py", COPIES, *ON_DISK) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "watching\n"
        house.hear(f'[microphone]\nfiles = ["{SAID}", "{QUIET}"]\n')
        machine.run("systemctl", "restart", "earmark-hear")
        machine.wait_until(
            lambda: "a command was not carried out" in machine.said("earmark-assist"),
            "that assist opened the copy",
        )
        said, errors = process.communicate()
    assert process.returncode == 0, errors
    found: list[dict[str, Any]] = json.loads(said.removeprefix("watched "))
    return {one["path"]: base64.b64decode(one["data"]) for one in found}


def test_command_copy_reaches_assist_and_never_a_disk(house: House, seen: Transcript) -> None:
    machine = house.machine
    allow(house)
    machine.run("systemctl", "restart", "earmark-archive", *SERVICES[:3])
    pid = machine.show("earmark-assist", "MainPID")
    machine.wait_until(
        lambda: f"pid={pid}," in machine.run("ss", "-tnpH", "state", "established"),
        "assist at the broker",
    )
    # It refuses every command that may have been said before its start.
    time.sleep(BUSY_S + 1)

    files = watched(machine, house)

    copies = [data for path, data in files.items() if path.startswith(f"{COPIES}/")]
    # Provisional parts are copies too.
    assert copies, sorted(files)
    assert {parse_copy(copy).header.device for copy in copies} == {"hall"}
    # Sealed under the unit, signed by this speaker, in memory alone, and taken by send.
    assert machine.run("ls", "-A", COPIES) == ""
    assert machine.run("stat", "-f", "-c", "%T", COPIES).strip() == "tmpfs"
    others = {path: data for path, data in files.items() if not path.startswith(COPIES)}
    assert any(".ada." in path for path in others), "the watcher saw the envelope in the spool"
    slices = {
        copy[at : at + SLICE_BYTES]
        for copy in copies
        for at in range(1024, len(copy) - SLICE_BYTES, 16 * 1024)
    }
    assert len(slices) > 3
    assert not [path for path, data in others.items() if any(one in data for one in slices)]
    for unit in SERVICES:
        assert swapped_kib(machine, unit) == 0
    machine.run("systemctl", "stop", *SERVICES, "earmark-archive")
    house.earmark("owner", "voice", "off", "ada")
    seen.flow.append(
        "a played command with an owner's consent: copied by hear into memory, taken by send,"
        " opened by assist; in no file on the disk"
    )


def swapped_kib(machine: Machine, unit: str) -> int:
    """Return the swapped memory of a unit's main process."""
    status = machine.read(f"/proc/{machine.show(unit, 'MainPID')}/status").splitlines()
    [line] = [text for text in status if text.startswith("VmSwap:")]
    return int(line.split()[1])
