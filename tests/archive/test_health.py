"""State of an archive process."""

from starlette.testclient import TestClient

from listener.archive.api import Api
from listener.archive.challenges import RequestChallenges
from listener.archive.context import ArchiveContext
from listener.archive.health import LOOP_S, PROBE_S, ArchiveHealth
from listener.archive.operations import Operations
from listener.errors import Unavailable
from tests.archive.conftest import FakeClock


class Storage:
    def __init__(self) -> None:
        self.works = True
        self.probes = 0

    def probe(self) -> None:
        self.probes += 1
        if not self.works:
            raise Unavailable("the database does not answer")


def test_state_follows_loop_storage_and_brokers(clock: FakeClock) -> None:
    storage = Storage()
    health = ArchiveHealth(storage.probe, clock)
    health.note_turn(1, 2)

    report = health.report()
    assert (report.ok, report.loop, report.storage) == (True, True, True)
    assert (report.brokers_connected, report.brokers) == (1, 2)

    storage.works = False
    assert health.report().ok, "the result of a probe is used again for a moment"
    clock.now_s += PROBE_S
    assert (health.report().ok, health.report().storage) == (False, False)
    assert storage.probes == 2

    storage.works = True
    clock.now_s += LOOP_S
    report = health.report()
    assert (report.ok, report.loop, report.storage) == (False, False, True)
    health.note_turn(0, 2)
    assert health.report().ok, "without a broker it answers owners"


def test_endpoint_needs_no_proof(context: ArchiveContext, clock: FakeClock) -> None:
    storage = Storage()
    health = ArchiveHealth(storage.probe, clock)
    api = Api(context, RequestChallenges(clock), Operations(context), health=health)
    client = TestClient(api.app(), client=("127.0.0.1", 1))

    answer = client.get("/v1/health")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json() == {
        "v": 1,
        "ok": True,
        "loop": True,
        "storage": True,
        "brokers_connected": 0,
        "brokers": 0,
    }
    storage.works = False
    clock.now_s += PROBE_S
    assert client.get("/v1/health").status_code == 503
    assert client.post("/v1/health").status_code == 405
