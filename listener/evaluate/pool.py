"""Pools of workers, through joblib: processes of this machine, or a Dask cluster.

The workers of a cluster need the same version of Earmark and of its packages, and the corpus at the
same paths, usually on a shared disk. They receive recipes and items, never audio.
"""

import contextlib
import ctypes
import itertools
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, Final, TypeVar

import joblib

from listener.errors import ConfigError, Unavailable
from listener.evaluate.corpus.items import Item
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.job import ItemReport

if TYPE_CHECKING:
    import distributed

BATCH_ITEMS: Final = 512
"""Items that are submitted at a time."""
TIMEOUT_S: Final = 10.0
"""Maximum time to the scheduler's answer, and to its first worker."""

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h; Python has no prctl

_HINT: Final = (
    "install earmark[cluster] on each machine, and start dask scheduler and dask worker ADDRESS"
)

EvaluateItem = Callable[[Item], ItemReport]
Work = TypeVar("Work")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Processes:
    """Worker processes of this machine; one job runs in this process. See ``Workers``."""

    jobs: int
    """Number of processes; -1: one for each core."""

    def map(self, function: Callable[[Work], Done], items: Iterable[Work]) -> Iterator[Done]:
        """See ``Workers.map``; any work whose function and results can be pickled.

        The workers end with this process, however it ends; its interrupts are not theirs.
        """
        # Before Python 3.12 its start unblocks SIGINT, whatever was blocked before.
        resource_tracker.ensure_running()
        with (
            warnings.catch_warnings(),
            joblib.parallel_config("loky", initializer=_end_with_parent, initargs=(os.getpid(),)),
            joblib.Parallel(self.jobs, return_as="generator") as parallel,
        ):
            # joblib replaces a worker that has grown by 300 MB, as one with a neural voice has.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            yield from map_in_batches(parallel, function, items)


def map_in_batches(
    parallel: Any,  # noqa: ANN401 - joblib ships no types
    function: Callable[[Work], Done],
    items: Iterable[Work],
) -> Iterator[Done]:
    """Yield the reports in the order of the items, in batches of bounded size.

    joblib consumes an iterator whether or not its results are taken: while one item of a day is
    scored, the reports of all the others would accumulate.

    Args:
        parallel: joblib.Parallel that returns a generator.
        function: work on one item.
        items: any number of items.
    """
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, BATCH_ITEMS)):
        # The first call starts the workers.
        with _without_interrupts():
            reports = parallel(joblib.delayed(function)(item) for item in batch)
        yield from reports


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block SIGINT while processes start, which inherit this: Ctrl-C goes to a whole group.

    Otherwise each worker would print a traceback, even while it starts.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent(parent: int) -> None:
    """Let the kernel kill this worker when the process ``parent`` ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Workers of a Dask scheduler; see ``Workers``."""

    address: str
    """Address of the scheduler: ``tcp://host:8786``, or ``host:8786``."""
    timeout_s: float = TIMEOUT_S
    """Maximum time to the scheduler's answer, and to its first worker."""

    def map(self, function: EvaluateItem, items: Iterable[Item]) -> Iterator[ItemReport]:
        """See ``Workers.map``.

        Raises:
            Unavailable: the scheduler does not answer, has no worker, or lost its workers.
            ConfigError: a worker has a different version of Earmark or of a package.
        """
        with self._client() as client:
            self._check_versions(client)
            with joblib.parallel_config(backend="dask", client=client):
                parallel = joblib.Parallel(return_as="generator", batch_size=1)
            yield from map_in_batches(parallel, function, items)

    @contextlib.contextmanager
    def _client(self) -> Iterator["distributed.Client"]:
        try:
            import distributed  # noqa: PLC0415 - takes 0.8 s; only needed for a cluster
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"a cluster needs {error.name}, which is not installed",
                "pip install 'earmark[cluster]'",
            ) from error
        try:
            client = distributed.Client(self.address, timeout=self.timeout_s)  # type: ignore[no-untyped-call] # the constructor has no types
        except (OSError, ValueError) as error:
            raise Unavailable(f"no Dask scheduler answers at {self.address}", _HINT) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=self.timeout_s)
            except TimeoutError as error:
                raise Unavailable(f"{self.address} has no worker", _HINT) from error
            yield client

    def _check_versions(self, client: "distributed.Client") -> None:
        """Raise ConfigError if the scores of a worker could differ from those of this machine."""
        here = _provenance()
        for worker, there in client.run(_provenance).items():
            if there[0] != here[0]:
                raise ConfigError(
                    f"the worker {worker} has a different version of Earmark",
                    "install the same version on each machine",
                )
            if there[1] != here[1]:
                different = sorted(
                    name
                    for name in {*there[1], *here[1]}
                    if there[1].get(name) != here[1].get(name)
                )
                raise ConfigError(
                    f"the worker {worker} has a different version of {different[0]}",
                    "install the same versions on each machine, or scores may differ slightly",
                )


def _provenance() -> tuple[str, dict[str, str]]:
    return code_hash(), versions()
