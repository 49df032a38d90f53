"""Fixtures: an archive behind its socket, and owners on their own machines."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from listener.archive.api import Api
from listener.archive.challenges import RequestChallenges
from listener.archive.http_server import HttpServer
from listener.archive.operations import Operations
from listener.audio.clip import encode_clip
from listener.cli import main
from listener.config import ArchiveSettings
from listener.envelope import format as form
from tests.archive.conftest import (  # the same archive that its own tests use
    NOON_S,
    FakeClock,
    clock,
    context,
    folder,
    log,
    store,
    wall,
)

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from listener.archive.store import FileStore
    from tests.conftest import Household

__all__ = ["clock", "context", "folder", "log", "store", "wall"]


@pytest.fixture
def archive_socket(context: "ArchiveContext", clock: FakeClock, home: Path) -> Iterator[Path]:
    """The archive's socket, served by the real server."""
    api = Api(context, RequestChallenges(clock), Operations(context))
    server = HttpServer(api.app(), home, ArchiveSettings())
    server.start()
    yield home / "archive.sock"
    server.stop()


class Sounding:
    """Seals playable clips and stores them in the archive."""

    def __init__(self, store: "FileStore", household: "Household") -> None:
        self.store = store
        self._household = household
        self._seq = 0

    def seal(self, owner: str = "ada", **fields: object) -> tuple[form.PublicHeader, bytes]:
        self._seq += 1
        header_fields: dict[str, Any] = {"t": "2026-11-22T08:00:00.000Z"} | fields
        header = self._household.header(self._seq, owner, **header_fields)
        samples = np.zeros(4000, np.int16)
        return header, self._household.seal(header, lambda comment: encode_clip(samples, comment))

    def put(self, owner: str = "ada", **fields: object) -> str:
        header, data = self.seal(owner, **fields)
        assert self.store.keep(form.parse_envelope(data), data, int(NOON_S))
        return header.clip


@pytest.fixture
def shelf(store: "FileStore", household: "Household") -> Sounding:
    return Sounding(store, household)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Machine:
    """An owner's computer: a home of its own, and an identity file."""

    def __init__(
        self, folder: Path, name: str, secret: str, archive: Path, read: Callable[[], Any]
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.name = name
        self.key = folder / f"{name}.key"
        self.key.write_text(f"# a comment\n{secret}\n")
        self.archive = archive
        self._read = read

    def run(self, *words: object) -> CommandResult:
        code = main.main(["clips", *map(str, words), "--home", str(self.home)])
        captured = self._read()
        return CommandResult(code, captured.out, captured.err)

    def clips(self, action: str, *words: object) -> CommandResult:
        return self.run(
            *(action, *words, "--owner", self.name, "--identity", self.key),
            *("--archive", self.archive),
        )

    def rows(self, action: str, *words: object) -> list[dict[str, Any]]:
        result = self.clips(action, *words, "--json")
        assert result.code == 0, result.err
        return result.rows()


@pytest.fixture
def machine_of(
    tmp_path: Path,
    household: "Household",
    archive_socket: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], Machine]:
    def make(name: str) -> Machine:
        own = tmp_path / f"machine-of-{name}"
        own.mkdir()
        return Machine(own, name, household.identities[name], archive_socket, capsys.readouterr)

    return make


@pytest.fixture
def ada(machine_of: Callable[[str], Machine]) -> Machine:
    return machine_of("ada")


@pytest.fixture
def bob(machine_of: Callable[[str], Machine]) -> Machine:
    return machine_of("bob")
