"""What keeps hear from starting, found without opening a device."""

from pathlib import Path

import pytest

from listener.config import (
    AttributionSettings,
    Config,
    MicrophoneSettings,
    MuteSettings,
    WakeSettings,
)
from listener.doctor.startup import check_startup
from tests.conftest import Household

CARDS = """ 0 [Mic            ]: USB-Audio - USB PnP Sound Device
                      C-Media USB PnP Sound Device at usb-1.2
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    asound = tmp_path / "root" / "proc" / "asound"
    (asound / "card0" / "pcm0c").mkdir(parents=True)
    (asound / "cards").write_text(CARDS)
    return tmp_path / "root"


def failed(root: Path, household: Household, **changes: object) -> list[str]:
    settings: dict[str, object] = {
        "home": str(household.home.path),
        "attribution": AttributionSettings(keeper="ada"),
        "mute": MuteSettings(switch="none"),
        "microphone": MicrophoneSettings(device="usb"),
    }
    config = Config(**(settings | changes))  # type: ignore[arg-type] # of several types
    return [one.check for one in check_startup(config, root) if one.verdict == "fail"]


def test_complete_configuration_has_no_failure(root: Path, household: Household) -> None:
    assert failed(root, household) == []


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"mute": MuteSettings()}, "switch"),
        ({"microphone": MicrophoneSettings(device="Jabra")}, "card"),
        ({"attribution": AttributionSettings()}, "keeper"),
        ({"attribution": AttributionSettings(keeper="eve")}, "keeper"),
        ({"wake": WakeSettings(words=("xyzzy",))}, "models"),
    ],
)
def test_what_keeps_hear_from_starting_fails(
    root: Path, household: Household, changes: dict[str, object], check: str
) -> None:
    assert failed(root, household, **changes) == [check]


def test_card_that_is_plugged_in_later_is_no_failure(root: Path, household: Household) -> None:
    (root / "proc" / "asound" / "cards").write_text("--- no soundcards ---\n")

    assert failed(root, household) == []
