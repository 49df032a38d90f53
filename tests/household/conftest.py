"""The command line, in a fresh home."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from listener.cli import main
from listener.storage.home import Home
from tests.household.guests import Host
from tests.ports import find_free_port

Earmark = Callable[..., tuple[int, str, str]]


@pytest.fixture
def earmark(home: Path, capsys: pytest.CaptureFixture[str], any_date: None) -> Earmark:
    """Run a command in a fresh home; return its exit code, output and messages."""
    del any_date

    def run(*words: str) -> tuple[int, str, str]:
        code = main.main([words[0], "--home", str(home), *words[1:]])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def unused_port() -> int:
    """A port on which no server listens."""
    return find_free_port()


@pytest.fixture
def ready(earmark: Earmark, unused_port: int) -> Earmark:
    """A household that is set up, with its own port for joining."""
    words = ("--host", "127.0.0.1", "--join-port", str(unused_port))
    assert earmark("household", "init", *words)[0] == 0
    return earmark


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    made = Host(home)
    yield made
    made.end()


@pytest.fixture
def guest(tmp_path: Path) -> Home:
    return Home(tmp_path / "guest")
