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


class Terminal(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


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

    def run(*words: object, typed: str = "", is_terminal: bool = False) -> CommandResult:
        monkeypatch.setattr("sys.stdin", Terminal(typed) if is_terminal else io.StringIO(typed))
        home = str(person / "home")
        code = main.main(["owner", "key", *map(str, words), "--home", home])
        captured = capsys.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return run
