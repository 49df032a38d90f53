"""The units of first boot and of updates, as systemd's own tools judge them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from listener.cli.first_boot import BOOT
from listener.firstboot import partition
from listener.firstboot.steps import COPY, FOLDER
from listener.update.versions import GUARD

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
EXPOSURE = {"first-boot": 2.0, "update-check": 1.1}


def lines(unit: str, key: str) -> list[str]:
    text = (SYSTEMD / f"earmark-{unit}.service").read_text("utf-8")
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


@pytest.mark.system
@pytest.mark.parametrize("unit", EXPOSURE)
def test_systemd_exposure_is_low(unit: str) -> None:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("apt-get install systemd")

    told = subprocess.run(
        [command, "security", "--no-pager", "--offline=yes", f"earmark-{unit}.service"],
        cwd=SYSTEMD,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", told)
    assert found
    assert float(found[1]) <= EXPOSURE[unit]


def test_first_boot_starts_for_a_new_or_pending_file() -> None:
    starts = {f"|{BOOT}/{name}" for name in (*partition.NAMES, partition.TAKEN)}

    assert set(lines("first-boot", "ConditionPathExists")) == {
        *starts,
        f"|/etc/earmark/{FOLDER}/{COPY}",
    }
    assert "1 2 78" in lines("first-boot", "RestartPreventExitStatus")


def test_speaker_services_run_with_the_new_configuration() -> None:
    restarts = lines("first-boot", "ExecStartPost")

    assert [text.partition("--no-block ")[2] for text in restarts] == [
        "restart earmark-hear.service earmark-send.service",
        "try-restart earmark-play.service",
    ]
    (before,) = lines("first-boot", "Before")
    assert before.split() == [f"earmark-{verb}.service" for verb in ("hear", "send", "play")]


def test_interrupted_update_is_ended_by_its_version() -> None:
    assert lines("update-check", "ConditionPathExists") == [f"/opt/earmark/{GUARD}"]
    (start,) = lines("update-check", "ExecStart")
    assert start == f"/opt/earmark/{GUARD}/bin/earmark update recover --at-boot"
    before = " ".join(lines("update-check", "Before")).split()
    services = {path.name for path in SYSTEMD.glob("earmark-*.service")}
    template = "earmark-archive@.service"
    # A unit cannot be ordered before a template; its instances are ordered after the unit.
    assert set(before) == services - {"earmark-update-check.service", template}
    ordered = (SYSTEMD / template).read_text("utf-8").splitlines()
    assert any(line.startswith("After=") and "earmark-update-check" in line for line in ordered)
