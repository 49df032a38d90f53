"""The files in systemd/, parsed by this machine's systemd; needs no root and starts nothing."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from listener.system.malloc import with_small_blocks_freed

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "systemd"
THRESHOLDS = {
    "earmark-hear": 10,
    "earmark-send": 15,
    "earmark-play": 10,
    "earmark-archive": 15,
    "earmark-assist": 20,
}
"""Exposure, in tenths."""
SERVICES = tuple(THRESHOLDS)
OURS = (
    *("/opt/earmark", "/etc/earmark", "/var/lib/earmark", "/var/lib/earmark-archive"),
    *("/var/lib/earmark-archive-public", "/var/lib/earmark-assist"),
    "/run/earmark-voice",
)
"""Made by the package, and by tmpfiles.d; `-` before a path says that it may be missing."""
DEBIANS = (
    *("/", "/tmp", "/var/tmp", "/dev/shm", "/run"),  # noqa: S108 - names of a sandbox's own
    "/run/systemd/notify",
)

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="apt-get install systemd"
)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def settings(service: str) -> dict[str, list[str]]:
    """Return what the unit's [Service] says, each name with all of its lines."""
    found: dict[str, list[str]] = {}
    for line in (SYSTEMD / f"{service}.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system that has what the package installs, as far as units name it."""
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for service in SERVICES:
        shutil.copy(SYSTEMD / f"{service}.service", units)
    program = tmp_path / "opt/earmark/current/bin/earmark"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "etc").mkdir()
    for target in (
        "basic",
        "sysinit",
        "shutdown",
        "multi-user",
        "network-online",
        "sound",
        "time-sync",
    ):
        (units / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
    return tmp_path


@pytest.mark.parametrize("service", SERVICES)
def test_systemd_analyze_verifies_the_units(root: Path, service: str) -> None:
    told = run("systemd-analyze", "verify", "--man=no", f"--root={root}", f"{service}.service")

    wrong = [line for line in told.stderr.splitlines() if service in line]
    assert (told.returncode, wrong) == (0, [])


@pytest.mark.parametrize(("service", "threshold"), THRESHOLDS.items())
def test_exposure_is_low(service: str, threshold: int) -> None:
    path = SYSTEMD / f"{service}.service"

    told = run(
        *("systemd-analyze", "security", "--no-pager", "--offline=yes"),
        *(f"--threshold={threshold}", str(path)),
    )

    assert told.returncode == 0, told.stdout[-200:]
    assert "Overall exposure level" in told.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_wrong_configuration_or_usage_does_not_restart(service: str) -> None:
    found = settings(service)

    assert found["RestartPreventExitStatus"] == ["2 78"]
    assert found["Restart"] == ["on-failure"]
    assert found["StartLimitIntervalSec"] == ["0"]  # all else is tried for as long as it takes


@pytest.mark.parametrize("service", SERVICES)
def test_units_name_existing_paths_only(service: str) -> None:
    names = ("Paths=", "ExecStart=", "LoadCredential=", "RequiresMountsFor=", "FileSystem=")
    lines = (SYSTEMD / f"{service}.service").read_text().splitlines()
    text = " ".join(line.partition("=")[2] for line in lines if any(one in line for one in names))

    named = set(re.findall(r"(?:^|[ :])(/[^ :]*)", text))

    strange = {
        path
        for path in named
        if path not in DEBIANS
        and not any(path == one or path.startswith(one + "/") for one in OURS)
    }
    assert not strange


def test_hear_has_no_network_and_send_no_device() -> None:
    hear, send = settings("earmark-hear"), settings("earmark-send")

    assert hear["PrivateNetwork"] == ["yes"]
    assert hear["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert hear["DeviceAllow"] == [
        "/dev/snd/earmark-capture rw",
        "/dev/snd/earmark-control rw",
        "/dev/input/earmark-mute r",
    ]
    assert send["PrivateDevices"] == ["yes"]
    assert "DeviceAllow" not in send
    assert send["LoadCredential"] == ["tls:/etc/earmark/tls"]


def test_player_has_the_loudspeaker_and_no_network_or_home() -> None:
    play = settings("earmark-play")

    assert play["PrivateNetwork"] == ["yes"]
    assert play["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert play["DeviceAllow"] == [
        "/dev/snd/earmark-playback rw",
        "/dev/snd/earmark-playback-control rw",
        "/dev/input/earmark-stop r",
    ]
    assert play["ReadWritePaths"] == ["/run/earmark-voice"]
    assert "-/var/lib/earmark" in " ".join(play["InaccessiblePaths"]).split()
    assert "LoadCredential" not in play
    assert (play["LimitCORE"], play["MemorySwapMax"]) == (["0"], ["0"])


def test_assist_reads_no_archive_and_keeps_no_memory() -> None:
    assist = settings("earmark-assist")

    assert assist["LoadCredential"] == ["assist:/etc/earmark/assist"]
    assert assist["ReadWritePaths"] == ["/var/lib/earmark-assist"]
    closed = " ".join(assist["InaccessiblePaths"]).split()
    assert {"-/var/lib/earmark", "-/var/lib/earmark-archive", "-/etc/earmark/archive"} <= set(
        closed
    )
    assert assist["PrivateDevices"] == ["yes"]
    assert (assist["LimitCORE"], assist["MemorySwapMax"]) == (["0"], ["0"])
    assert assist["CoredumpFilter"] == ["0"]
    assert assist["LimitMEMLOCK"] == ["infinity"]
    environment = dict(word.split("=", 1) for word in " ".join(assist["Environment"]).split())
    assert with_small_blocks_freed(environment) == environment, "it needs no second start"


def test_memory_cannot_be_swapped_or_dumped() -> None:
    hear = settings("earmark-hear")

    assert (hear["LimitCORE"], hear["MemorySwapMax"]) == (["0"], ["0"])
    assert hear["LimitMEMLOCK"] == ["infinity"]


def test_onnxruntime_telemetry_is_off() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in settings("earmark-hear")["Environment"]


@pytest.mark.parametrize("service", SERVICES)
def test_writable_paths_are_not_executable(service: str) -> None:
    found = settings(service)

    # NoExecPaths=/ alone leaves them out.
    assert set(found["ReadWritePaths"][0].split()) <= set(found["NoExecPaths"][0].split())


def test_users_and_groups_are_created(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()

    told = run("systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "sysusers.d/earmark.conf"))

    assert told.returncode == 0, told.stderr
    users = (tmp_path / "etc/passwd").read_text()
    groups = (tmp_path / "etc/group").read_text()
    for service in SERVICES:
        assert f"\n{service}:" in "\n" + users
        assert settings(service)["User"] == [service]
    for group in ("earmark-spool", "earmark-voice", "earmark-mute"):
        assert f"\n{group}:" in "\n" + groups


def test_folders_are_created(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    # The user of the tests owns them all: only root can change the owner of a folder.
    text = (SYSTEMD / "tmpfiles.d/earmark.conf").read_text()
    text = re.sub(
        r"\b(root|earmark-(hear|send|archive|assist|spool|voice))\b(?!/)(?<!/run/earmark-voice)",
        "-",
        text,
    )
    conf = tmp_path / "earmark.conf"
    conf.write_text("\n".join(line for line in text.splitlines() if not line.startswith("#")))

    told = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(conf))

    assert told.returncode == 0, told.stderr
    found = {
        path: oct((tmp_path / path).stat().st_mode & 0o7777)
        for path in (
            *("etc/earmark/tls", "var/lib/earmark/spool", "var/lib/earmark/send"),
            *("run/earmark-voice", "run/earmark-voice/copies", "run/earmark-voice/replies"),
        )
    }
    assert found == {
        "etc/earmark/tls": "0o700",
        "var/lib/earmark/spool": "0o2770",
        "var/lib/earmark/send": "0o2710",
        "run/earmark-voice": "0o3770",
        "run/earmark-voice/copies": "0o2770",
        "run/earmark-voice/replies": "0o2770",
    }


def test_drop_ins_are_valid_units() -> None:
    for path in (SYSTEMD / "drop-ins").glob("*.conf"):
        parsed = configparser.ConfigParser(strict=False, interpolation=None)
        parsed.optionxform = str  # type: ignore[assignment, method-assign] # its documented use
        parsed.read_string(path.read_text())

        assert set(parsed.sections()) <= {"Unit", "Service"}


def test_archive_of_a_fleet_has_the_sandbox_of_the_archive() -> None:
    """Both units are one but for what a fleet needs."""
    own = (SYSTEMD / "earmark-archive@.service").read_text().splitlines()
    archive = (SYSTEMD / "earmark-archive.service").read_text().splitlines()
    differing = [line for line in own if line not in archive and not line.startswith("#")]

    assert differing == [
        "Description=Earmark: store encrypted clips for their owners, archive %i",
        "After=network-online.target time-sync.target mosquitto.service postgresql.service",
        "After=earmark-update-check.service",
        "Conflicts=earmark-archive.service",
        (
            "ExecStart=/opt/earmark/current/bin/earmark archive"
            " --config /etc/earmark/archive-%i.toml --home /var/lib/earmark-archive"
        ),
        "EnvironmentFile=-/etc/earmark/archive-fleet.env",
    ]
    missing = [line for line in archive if line not in own and not line.startswith("#")]
    assert [line.partition("=")[0] for line in missing] == ["Description", "After", "ExecStart"]
