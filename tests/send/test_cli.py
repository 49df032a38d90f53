"""``earmark send``, in this process."""

import re
import uuid
from pathlib import Path

import pytest

from listener.cli import main
from listener.config import SpoolSettings
from listener.spool.queue import Spool


def send(home: Path, *words: str) -> int:
    return main.main(["send", "--home", str(home), *words])


@pytest.fixture
def nobody(tmp_path: Path, unused_port: int) -> str:
    config = tmp_path / "earmark.toml"
    config.write_text(f"broker.port = {unused_port}\n", "utf-8")
    return str(config)


def test_once_with_an_empty_spool_succeeds(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert send(home, "--once") == 0

    assert capsys.readouterr().out == "sent 0, quarantined 0, waiting 0\n"


def test_unreachable_broker_gives_a_hint(
    home: Path, nobody: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Spool(home / "spool", SpoolSettings()).put(str(uuid.uuid4()), "ada", 1, b"sealed")

    assert send(home, "--once", "--patience", "0.2", "--config", nobody) == 69

    said = capsys.readouterr()
    assert re.search(r"error: no connection to the broker at \S+:\d+: Connection refused", said.err)
    assert "earmark: hint: check the configuration broker.host and broker.port" in said.err


def test_release_restores_quarantined_clips(
    home: Path, nobody: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = Spool(home / "spool", SpoolSettings())
    spool.quarantine(spool.put(str(uuid.uuid4()), "ada", 1, b"sealed"))

    assert send(home, "--once", "--release", "--patience", "0.2", "--config", nobody) == 69

    assert "released 1 clip" in capsys.readouterr().out
    assert len(spool.waiting()) == 1


def test_unusable_home_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")

    assert send(tmp_path / "file", "--once") == 69

    assert f"cannot use {tmp_path / 'file' / 'send'}: Not a directory" in capsys.readouterr().err


def test_spool_that_is_a_file_is_reported(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "spool").write_text("in the way", "utf-8")

    assert send(home, "--once") == 69

    assert "cannot read the spool" in capsys.readouterr().err
