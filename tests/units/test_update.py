"""Releases of the real program, installed under the real units."""

import base64
import hashlib
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import listener
from listener.cli import main
from listener.envelope import keys
from tests.units.conftest import SAID, House
from tests.units.machine import Machine, architecture

pytestmark = [pytest.mark.units, pytest.mark.timeout(900)]

KEY = Ed25519PrivateKey.generate()
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
# The worst fault of a release: it starts, reports that it is ready, and never scores audio.
DEAF = """
def run(arguments, settings):
    import os, signal, time
    from listener.system.systemd import Notifier
    Notifier(os.environ, time.monotonic).ready()
    signal.pause()
"""


@pytest.fixture
def speaker(house: House) -> Iterator[Machine]:
    """A speaker that plays the same sentence repeatedly, and trusts the test's release key."""
    machine = house.machine
    pinned = keys.device_text(KEY.public_key())
    files = ", ".join([f'"{SAID}"'] * 500)
    house.hear(f'[microphone]\nfiles = [{files}]\n[update]\nkeys = ["{pinned}"]\n')
    machine.run("systemctl", "restart", "earmark-hear", "earmark-send")
    yield machine
    machine.run("systemctl", "stop", "earmark-hear", "earmark-send")
    machine.run("ln", "-sfn", listener.__version__, "/opt/earmark/current")
    machine.run("sh", "-c", "rm -rf /opt/earmark/[1-9]* /opt/earmark/update.json /run/releases")


def release(folder: Path, machine: Machine, version: str, *, deaf: bool = False) -> str:
    """Build a release from the package's files, and copy it to the speaker; return its path."""
    source = folder / version
    source.mkdir()
    carried = machine.words(
        "tar", "-C", "/usr/lib/earmark", "-c", "make-environment", "wheels", "lock"
    )
    with subprocess.Popen(carried, stdout=subprocess.PIPE) as tar:
        words = ["tar", "-x", "-C", str(source)]
        subprocess.run(words, stdin=tar.stdout, check=True)
    [own] = source.glob("wheels/earmark-*.whl")
    before = hashlib.sha256(own.read_bytes()).hexdigest()
    made = _renumbered(own, version, deaf=deaf)
    after = hashlib.sha256(made.read_bytes()).hexdigest()
    for lock in source.glob("lock/*.txt"):
        text = lock.read_text().replace(before, after)
        lock.write_text(re.sub(r"^earmark==\S+", f"earmark=={version}", text, flags=re.MULTILINE))
    key, file = folder / "key", folder / f"{version}.release"
    key.write_bytes(keys.device_pem(KEY))
    words = ["--key", str(key), "--to", str(file), "--machine", MACHINE[architecture()]]
    assert main.main(["update", "pack", str(source), *words]) == 0
    shutil.rmtree(source)
    machine.run("mkdir", "-p", "/run/releases")
    machine.put(f"/run/releases/{version}", file.read_bytes())
    file.unlink()
    return f"/run/releases/{version}"


def _renumbered(own: Path, version: str, *, deaf: bool) -> Path:
    """Replace a wheel by the same wheel with another version; return its path."""
    made = own.with_name(own.name.replace(listener.__version__, version))
    old, new = f"earmark-{listener.__version__}.dist-info", f"earmark-{version}.dist-info"
    record = ""
    with zipfile.ZipFile(own) as wheel, zipfile.ZipFile(made, "w") as out:
        for name in wheel.namelist():
            data, target = wheel.read(name), name.replace(old, new)
            if name == f"{old}/METADATA":
                data = data.replace(
                    f"\nVersion: {listener.__version__}\n".encode(),
                    f"\nVersion: {version}\n".encode(),
                )
            if name == "listener/__init__.py":
                data = data.replace(listener.__version__.encode(), version.encode())
            if name == "listener/cli/hear.py" and deaf:
                data += DEAF.encode()
            if name != f"{old}/RECORD":
                digest = (
                    base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
                )
                record += f"{target},sha256={digest},{len(data)}\n"
                out.writestr(target, data)
        out.writestr(f"{new}/RECORD", f"{record}{new}/RECORD,,\n")
    own.unlink()
    return made


def install(machine: Machine, file: str, *more: str) -> tuple[int, str]:
    with machine.start("earmark", "update", "install", file, *more) as process:
        out, err = process.communicate(timeout=400)
        return process.returncode, out + err


def current(machine: Machine) -> str:
    return machine.run("readlink", "/opt/earmark/current").strip()


def test_release_is_installed_and_faulty_one_rolled_back(speaker: Machine, tmp_path: Path) -> None:
    code, said = install(speaker, release(tmp_path, speaker, "1.0.0"))

    assert code == 0, said
    assert "hear runs 1.0.0: it scores audio" in said
    assert current(speaker) == "1.0.0"
    assert speaker.run("earmark", "--version") == "earmark 1.0.0\n"

    code, said = install(speaker, release(tmp_path, speaker, "1.1.0", deaf=True), "--wait", "10")

    assert code == 1, said
    assert "1.1.0 was rolled back: hear did not score within 10 s" in said
    assert current(speaker) == "1.0.0"
    assert speaker.show("earmark-hear", "ActiveState") == "active"
    told = speaker.run("earmark", "update", "status", "--json")
    assert '"latest": "1.1.0"' in told


def test_power_cut_during_trial_restores_the_old_version(speaker: Machine, tmp_path: Path) -> None:
    file = release(tmp_path, speaker, "2.0.0", deaf=True)
    script = f"echo $$; exec earmark update install {file} 2>&1"
    with speaker.start("sh", "-c", script) as process:
        assert process.stdout is not None
        pid = process.stdout.readline().strip()
        said: list[str] = []
        while not said or (said[-1] and "is the current version" not in said[-1]):
            said.append(process.stdout.readline())
        speaker.run("sh", "-c", f"kill -9 {pid}")
    assert said[-1], said
    assert current(speaker) == "2.0.0"
    speaker.run("systemctl", "stop", "earmark-hear")

    # As at boot.
    speaker.run("systemctl", "start", "earmark-update-check")

    assert current(speaker) == listener.__version__
    assert speaker.ask("test", "-e", "/opt/earmark/guard").returncode == 1
    assert speaker.ask("test", "-e", "/opt/earmark/2.0.0").returncode == 1
    speaker.run("systemctl", "start", "earmark-update-check")
    assert speaker.show("earmark-update-check", "ConditionResult") == "no"
