"""Fixtures: an archive in a folder, its receiver, its API, and owners as clients."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyrage
import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from listener.archive.api import Api
from listener.archive.challenges import RequestChallenges
from listener.archive.context import ArchiveContext
from listener.archive.fleet.fleet_store import FleetStore
from listener.archive.log_budget import LogBudget
from listener.archive.operations import Operations
from listener.archive.receiver import Receiver
from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.storage.access_log import ACCESS_LOG, AccessLog
from tests.archive.computer import Computer
from tests.archive.fake_broker import FakeBroker
from tests.archive.fleet_servers import Fleet, PostgresServer, SeaweedServer, find_postgresql
from tests.archive.stored_clips import T_S

if TYPE_CHECKING:
    from tests.conftest import Household

NOON_S = 1_795_348_800.0


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "archive"


@pytest.fixture
def store(folder: Path) -> Iterator[FileStore]:
    opened = FileStore(folder)
    yield opened
    opened.close()


@pytest.fixture
def receiver(store: FileStore, household: "Household") -> Receiver:
    return Receiver(store, household.home.roster, lambda: NOON_S)


class FakeClock:
    """A clock that only the test advances."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> FakeClock:
    """The monotonic clock."""
    return FakeClock(100.0)


@pytest.fixture
def wall() -> FakeClock:
    return FakeClock(NOON_S)


@pytest.fixture
def broker(clock: FakeClock) -> FakeBroker:
    return FakeBroker(clock)


@pytest.fixture
def log(home: Path, wall: FakeClock) -> Iterator[AccessLog]:
    with contextlib.closing(AccessLog(home / ACCESS_LOG, wall)) as opened:
        yield opened


@pytest.fixture
def context(
    household: "Household", store: FileStore, log: AccessLog, wall: FakeClock, clock: FakeClock
) -> ArchiveContext:
    home = household.home
    key = home.archive_key()
    return ArchiveContext(home, store, log, home.roster, key, wall, budget=LogBudget(clock))


@pytest.fixture
def client(context: ArchiveContext, clock: FakeClock) -> Iterator[TestClient]:
    api = Api(context, RequestChallenges(clock), Operations(context))
    with TestClient(api.app(), client=("127.0.0.1", 1), raise_server_exceptions=True) as opened:
        yield opened


class OwnerClient:
    """An owner as a client of the HTTP API."""

    def __init__(self, client: TestClient, name: str, identity: str) -> None:
        self.client = client
        self.name = name
        self.identity = identity

    def request_ticket(self, op: str, **fields: object) -> Response:
        """Request a ticket; return the response."""
        body = {"owner": self.name, "request": {"op": op} | fields}
        return self.client.post("/v1/tickets", json=body)

    def decrypt(self, challenge: str, identity: str | None = None) -> str:
        key = pyrage.x25519.Identity.from_str(identity or self.identity)
        return bytes(pyrage.decrypt(challenge.encode(), [key])).decode()

    def request(self, op: str, **fields: object) -> Response:
        """Make both steps of a request; return the last response."""
        ticket = self.request_ticket(op, **fields).json()
        return self.answer(ticket["ticket"], self.decrypt(ticket["challenge"]))

    def answer(self, ticket: str, answer: str) -> Response:
        return self.client.post(f"/v1/tickets/{ticket}", content=answer)

    def log_rows(self) -> list[dict[str, Any]]:
        """The rows of the access log that this owner can read."""
        reply = self.request("log").json()
        return [row["body"] for row in reply["rows"] if "body" in row]


@pytest.fixture
def ada(client: TestClient, household: "Household") -> OwnerClient:
    return OwnerClient(client, "ada", household.identities["ada"])


@pytest.fixture
def bob(client: TestClient, household: "Household") -> OwnerClient:
    return OwnerClient(client, "bob", household.identities["bob"])


class ClipFactory:
    """Seals clips as a device does, and stores them in the archive."""

    def __init__(self, store: FileStore, household: "Household") -> None:
        self.store = store
        self.household = household
        self.sealed: dict[str, bytes] = {}
        self._seq = 0

    def put(self, owner: str = "ada", **fields: object) -> form.PublicHeader:
        self._seq += 1
        header_fields: dict[str, Any] = {"t": "2026-11-22T08:00:00.000Z"} | fields
        header = self.household.header(self._seq, owner, **header_fields)
        data = self.household.seal(header, lambda _: b"fLaC" + bytes(200))
        self.sealed[header.clip] = data
        assert self.store.keep(form.parse_envelope(data), data, int(NOON_S))
        # A restored row takes its time of arrival from the file's mtime: set it to a fixed time.
        os.utime(self.path(header), (NOON_S, NOON_S))
        return header

    def path(self, header: form.PublicHeader) -> Path:
        return self.store.path(header.owner, header.clip)


@pytest.fixture
def clip_factory(store: FileStore, household: "Household") -> ClipFactory:
    return ClipFactory(store, household)


@pytest.fixture
def computer() -> Computer:
    return Computer(T_S)


@pytest.fixture
def keyed_store(household: "Household", folder: Path) -> Iterator[FileStore]:
    """The store as ``serve`` opens it."""
    opened = FileStore(folder, row_mac=RowMac.for_key(household.home.archive_key()))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; tests create databases of their own."""
    programs = find_postgresql()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: make debian")
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedServer]:
    """A running S3 server with a bucket, named by this process's environment."""
    if "faketime" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("SeaweedFS is a static program: it has the true time, and refuses this client")
    server = SeaweedServer()
    try:
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment.items():
                patch.setenv(name, value)
            yield server
    finally:
        server.remove()


@pytest.fixture
def fleet(
    postgres: PostgresServer, seaweed: SeaweedServer, household: "Household"
) -> Iterator[Fleet]:
    """An empty database and an empty part of the bucket, for several stores."""
    with contextlib.closing(
        Fleet(postgres, seaweed, RowMac.for_key(household.home.archive_key()))
    ) as opened:
        yield opened


FLEET = pytest.param("fleet", marks=pytest.mark.system)


@pytest.fixture(params=["files", FLEET])
def any_store(request: pytest.FixtureRequest) -> FileStore | FleetStore:
    """A store of each kind, with the archive's key for its rows."""
    if request.param == "files":
        opened: FileStore = request.getfixturevalue("keyed_store")
        return opened
    servers: Fleet = request.getfixturevalue("fleet")
    return servers.open()
