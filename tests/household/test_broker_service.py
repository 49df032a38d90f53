"""The system's mosquitto is reloaded only where it is the household's, and by root."""

import os
from pathlib import Path

import pytest

from listener.household import broker_service


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder = tmp_path / "earmark"
    folder.mkdir()
    (folder / "earmark.conf").touch()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "systemd").mkdir()
    return folder


def update(folder: Path, *, closes_connections: bool = False) -> list[str]:
    """Return what was asked of systemctl."""
    asked: list[str] = []

    def control(word: str) -> bool:
        asked.append(word)
        return True

    is_done = broker_service.update_broker(
        folder,
        closes_connections=closes_connections,
        control=control,
        configurations=folder.parent / "conf.d",
        systemd=folder.parent / "systemd",
    )
    assert is_done == bool(asked)
    return asked


def test_mosquitto_that_reads_the_household_is_reloaded(folder: Path) -> None:
    assert update(folder) == []
    (folder.parent / "conf.d" / "earmark.conf").symlink_to(folder / "earmark.conf")

    assert update(folder) == ["reload"]
    assert update(folder, closes_connections=True) == ["restart"]


def test_mosquitto_of_another_household_is_left_alone(folder: Path) -> None:
    (folder.parent / "conf.d" / "earmark.conf").write_text("listener 1883\n")

    assert update(folder) == []


def test_only_root_with_systemd_reloads_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "conf.d" / "earmark.conf").symlink_to(folder / "earmark.conf")
    with monkeypatch.context() as user:
        user.setattr(os, "geteuid", lambda: 1000)
        assert update(folder) == []
    (folder.parent / "systemd").rmdir()

    assert update(folder) == []
