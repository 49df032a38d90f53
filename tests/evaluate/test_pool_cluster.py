"""A real cluster on this machine: a scheduler and two workers, each a process."""

import os
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from listener.errors import Unavailable
from listener.evaluate.corpus.items import Item
from listener.evaluate.engines.earmark import earmark_recipe
from listener.evaluate.job import ItemReport
from listener.evaluate.plan import CorpusSettings, EngineSettings, EvaluationPlan, complete_plan
from listener.evaluate.pool import Cluster, EvaluateItem, Processes
from listener.evaluate.runner import Evaluation, Workers

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
HOME = Path("/nonexistent")

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(180),
    # Tornado and distributed leave sockets to the collector when a cluster ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    made = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with made:
        yield made.scheduler_address


def named(item: Item) -> ItemReport:
    return ItemReport(item, file_hash=item.name)


def test_cluster_reports_come_in_the_order_of_the_items(address: str) -> None:
    items = [Item(f"{number}", Path("/nowhere")) for number in range(50)]

    reports = list(Cluster(address).map(named, items))

    assert [report.file_hash for report in reports] == [item.name for item in items]


def test_cluster_gives_the_same_bytes_as_a_local_run(address: str) -> None:
    plan = complete_plan(
        EvaluationPlan(
            engine=(EngineSettings(words=("alexa",)),),
            corpus=(CorpusSettings(path=str(FIXTURES)),),
            plays=2,
        ),
        "a test",
    )

    here = evaluated(plan, Processes(1))
    there = evaluated(plan, Cluster(address))

    assert there == here
    assert len(here) > 10_000


def evaluated(plan: EvaluationPlan, workers: Workers) -> bytes:
    made = Evaluation(plan, lambda each: earmark_recipe(each.name, HOME, each.words), workers).run()
    return msgspec.json.encode(made)


class InterruptedCluster:
    """A cluster of which one worker is killed as soon as the first report is there.

    Args:
        address: of the scheduler.
        pid: process id of the worker.
    """

    def __init__(self, address: str, pid: int) -> None:
        self._cluster = Cluster(address)
        self._pid = pid
        self.left = 0
        """Items whose report came after the kill."""

    def map(self, function: EvaluateItem, items: Iterable[Item]) -> Iterator[ItemReport]:
        for number, report in enumerate(self._cluster.map(function, items)):
            if number == 0:
                os.kill(self._pid, signal.SIGKILL)
            else:
                self.left += 1
            yield report


def test_killed_worker_changes_no_byte() -> None:
    plan = complete_plan(
        EvaluationPlan(
            engine=(EngineSettings(words=("alexa",)),),
            corpus=(CorpusSettings(path=str(FIXTURES)),),
            plays=2,
        ),
        "a test",
    )
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as made,
        distributed.Client(made) as client,
    ):
        pids = list(client.run(os.getpid).values())
        interrupted = InterruptedCluster(made.scheduler_address, pids[0])
        there = evaluated(plan, interrupted)
        after = list(client.run(os.getpid).values())

    assert len(pids) == 3
    assert pids[0] not in after
    assert interrupted.left > 0
    assert there == evaluated(plan, Processes(1))


def test_scheduler_that_does_not_answer_is_an_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"

        with pytest.raises(Unavailable, match="no Dask scheduler answers"):
            list(Cluster(address, timeout_s=0.5).map(named, []))


def test_scheduler_without_workers_is_an_error() -> None:
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        pytest.raises(Unavailable, match="has no worker"),
    ):
        list(Cluster(empty.scheduler_address, timeout_s=0.5).map(named, []))
