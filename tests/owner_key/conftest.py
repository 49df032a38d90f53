"""Fixtures: an archive behind its socket, and a person who types ``earmark owner key``."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from listener.cli import main
from tests.clips.conftest import (  # the same archive that its own client's tests use
    CommandResult,
    archive_socket,
    clock,
    context,
    folder,
    log,
    shelf,
    store,
    wall,
)

__all__ = [
    "CommandResult",
    "archive_socket",
    "clock",
    "context",
    "folder",
    "log",
    "shelf",
    "store",
    "wall",
]

TypeKey = Callable[..., CommandResult]


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the person."""
    made = tmp_path / "person"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def type_key(
    person: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> TypeKey:
    """Run ``earmark owner key`` on the owner's own computer."""

    def run(*words: object, typed: str = "") -> CommandResult:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        home = str(person / "home")
        code = main.main(["owner", "key", *map(str, words), "--home", home])
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return run
