"""Check of the loudspeaker, its button and its service."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from listener.config import PlayerSettings
from listener.doctor import playback_service
from listener.doctor.systemd import PLAY
from listener.system.findings import Finding

RUNNING = {"LoadState": "loaded", "MainPID": "12"}
STOPPED = {"LoadState": "loaded", "MainPID": "0"}
UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with a loudspeaker."""
    for link in (playback_service.LINK, playback_service.CONTROL_LINK):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).touch()
    return tmp_path


def check(root: Path, unit: Mapping[str, str], button: str | None = None) -> Finding | None:
    def ask(name: str) -> Mapping[str, str]:
        assert name == PLAY
        return unit

    return playback_service.check_loudspeaker(root, PlayerSettings(button=button), ask)


@pytest.mark.parametrize("unit", [{}, {"LoadState": "not-found", "MainPID": "0"}])
def test_system_without_the_service_has_no_finding(root: Path, unit: Mapping[str, str]) -> None:
    assert check(root, unit) is None


def test_running_player_is_ok(root: Path) -> None:
    finding = check(root, RUNNING)

    assert finding is not None
    assert (finding.verdict, finding.text) == ("ok", "there is one, and the player runs")


@pytest.mark.parametrize("link", [playback_service.LINK, playback_service.CONTROL_LINK])
def test_missing_loudspeaker_is_reported(root: Path, link: Path) -> None:
    (root / link).unlink()

    finding = check(root, STOPPED)

    assert finding is not None
    assert finding.verdict == "ok"
    assert "none was found" in finding.text


def test_stopped_player_warns(root: Path) -> None:
    finding = check(root, STOPPED)

    assert finding is not None
    assert finding.verdict == "warn"
    assert "journalctl -u earmark-play" in finding.hint


def test_missing_button_warns(root: Path) -> None:
    finding = check(root, STOPPED, "/dev/input/earmark-stop")
    assert finding is not None
    assert finding.verdict == "warn"
    assert "player.button" in finding.hint

    (root / "dev/input").mkdir()
    (root / "dev/input/earmark-stop").touch()

    assert check(root, RUNNING, "/dev/input/earmark-stop") == check(root, RUNNING)


@pytest.mark.parametrize("link", [playback_service.LINK, playback_service.CONTROL_LINK])
def test_unit_may_open_the_nodes_that_are_checked(link: Path) -> None:
    lines = (UNITS / PLAY).read_text("utf-8").splitlines()

    assert f"DeviceAllow=/{link} rw" in lines
