"""The command line, in a fresh home."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from listener import cli

Earmark = Callable[..., tuple[int, str, str]]


@pytest.fixture
def earmark(home: Path, capsys: pytest.CaptureFixture[str]) -> Earmark:
    """Run a verb in a fresh home; return its exit code, output and messages."""

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main([words[0], "--home", str(home), *words[1:]])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
