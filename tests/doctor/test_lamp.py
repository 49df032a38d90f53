import os
from pathlib import Path

import pytest

from listener.config import LampSettings
from listener.doctor import lamp

LED = LampSettings(kind="gpio", chip="/dev/gpiochip0", line=12)
ROW = LampSettings(kind="apa102", device="/dev/spidev0.1")


def device(root: Path, name: str, mode: int = 0o600) -> Path:
    (root / "dev").mkdir()
    (root / "dev" / name).touch(mode)
    return root


def test_none_is_none(tmp_path: Path) -> None:
    assert lamp.check_lamp(tmp_path, LampSettings()).verdict == "ok"


@pytest.mark.parametrize(("settings", "name"), [(LED, "gpiochip0"), (ROW, "spidev0.1")])
def test_a_lamp_whose_device_is_there_is_well(
    tmp_path: Path, settings: LampSettings, name: str
) -> None:
    finding = lamp.check_lamp(device(tmp_path, name), settings)

    assert finding.verdict == "ok"
    assert f"/dev/{name}" in finding.text


@pytest.mark.parametrize(
    ("settings", "hint"), [(LED, "lamp.chip"), (ROW, "dtparam=spi=on in config.txt")]
)
def test_a_lamp_whose_device_is_missing_fails(
    tmp_path: Path, settings: LampSettings, hint: str
) -> None:
    finding = lamp.check_lamp(tmp_path, settings)

    assert (finding.verdict, finding.hint) == ("fail", hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every device")
def test_a_device_that_this_user_may_not_use_is_a_warning(tmp_path: Path) -> None:
    assert lamp.check_lamp(device(tmp_path, "gpiochip0", 0o400), LED).verdict == "warn"
