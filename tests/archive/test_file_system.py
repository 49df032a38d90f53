"""An archive on a file system without hard links, as FAT and exFAT: one error at the start."""

import os
from pathlib import Path

import pytest

from listener.cli import main


@pytest.fixture
def fat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let links fail as they do on FAT; kernels without FAT cannot mount one for a test."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("fat")
@pytest.mark.parametrize("action", [[], ["serve"]])
def test_archive_without_hard_links_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
    code = main.main(["archive", *action, "--home", str(tmp_path / "stick")])

    errors = capsys.readouterr().err.splitlines()
    assert code == 78
    assert len(errors) == 2
    assert f"error: {tmp_path}/stick/archive is on a file system without hard links" in errors[0]
    assert errors[1] == "earmark: hint: choose a folder on ext4, XFS or Btrfs"
