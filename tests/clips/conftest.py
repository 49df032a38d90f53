"""A real archive behind its socket, and an owner at her own machine."""

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
    folder,
    context,
    log,
    store,
    wall,
)

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from listener.archive.store import FileStore
    from tests.conftest import Household

__all__ = ["clock", "folder", "context", "log", "store", "wall"]


@pytest.fixture
def doors(context: "ArchiveContext", clock: FakeClock, home: Path) -> Iterator[Path]:
    """The archive's socket, answered by the server itself."""
    api = Api(context, RequestChallenges(clock), Operations(context, clock))
    served = HttpServer(api.app(), home, ArchiveSettings())
    served.start()
    yield home / "archive.sock"
    served.stop()


class Sounding:
    """Puts clips into the archive that play."""

    def __init__(self, store: "FileStore", household: "Household") -> None:
        self.store = store
        self._household = household
        self._seq = 0

    def seal(self, owner: str = "ada", **fields: object) -> tuple[form.PublicHeader, bytes]:
        self._seq += 1
        given: dict[str, Any] = {"t": "2026-11-22T08:00:00.000Z"} | fields
        header = self._household.header(self._seq, owner, **given)
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
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Machine:
    """A person's own computer: a home of its own, and her identity in a file."""

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

    def run(self, *words: object) -> Said:
        code = main.main(["clips", *map(str, words), "--home", str(self.home)])
        found = self._read()
        return Said(code, found.out, found.err)

    def clips(self, action: str, *words: object) -> Said:
        return self.run(
            *(action, *words, "--owner", self.name, "--identity", self.key),
            *("--archive", self.archive),
        )

    def rows(self, action: str, *words: object) -> list[dict[str, Any]]:
        said = self.clips(action, *words, "--json")
        assert said.code == 0, said.err
        return said.rows()


@pytest.fixture
def machine_of(
    tmp_path: Path,
    household: "Household",
    doors: Path,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[str], Machine]:
    def make(name: str) -> Machine:
        own = tmp_path / f"machine-of-{name}"
        own.mkdir()
        return Machine(own, name, household.identities[name], doors, capsys.readouterr)

    return make


@pytest.fixture
def ada(machine_of: Callable[[str], Machine]) -> Machine:
    return machine_of("ada")


@pytest.fixture
def bob(machine_of: Callable[[str], Machine]) -> Machine:
    return machine_of("bob")
