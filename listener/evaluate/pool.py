"""Who examines items: the processes of this machine, through joblib.

The same work on a Dask cluster, through joblib: more machines, the same result.

The workers need this version of Earmark with the same packages, and the corpus at the same paths:
a shared disk, mostly. What is sent to them is a recipe and an item, never sound.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import joblib

from listener.errors import ConfigError, Unavailable
from listener.evaluate.corpus.items import Item
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.job import ItemReport

if TYPE_CHECKING:
    import distributed

AT_ONCE: Final = 512
"""Items that are taken at a time."""

Examine = Callable[[Item], ItemReport]


@dataclass(frozen=True, slots=True)
class Processes:
    """Worker processes; with one, the work is done in this process."""

    jobs: int
    """How many; -1: one for each core."""

    def map(self, function: Examine, items: Iterable[Item]) -> Iterator[ItemReport]:
        """See ``Workers.map``."""
        with joblib.Parallel(self.jobs, return_as="generator") as parallel:
            yield from map_in_batches(parallel, function, items)


def map_in_batches(
    parallel: Any,  # noqa: ANN401 - joblib ships no types
    function: Examine,
    items: Iterable[Item],
) -> Iterator[ItemReport]:
    """Give the reports in the order of the items, so many at a time.

    joblib goes on with an endless iterator whether or not its results are taken: behind one item
    of a day, reports of all the others would pile up.

    Args:
        parallel: joblib's, with generators.
        function: what is done with each item.
        items: any number.
    """
    waiting = iter(items)
    while some := list(itertools.islice(waiting, AT_ONCE)):
        yield from parallel(joblib.delayed(function)(item) for item in some)


PATIENCE_S: Final = 10.0
_HINT: Final = "pip install 'earmark[cluster]' on each; dask scheduler, and dask worker ADDRESS"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a Dask scheduler; see ``Workers``."""

    address: str
    """Of the scheduler: ``tcp://host:8786``, or ``host:8786``."""
    patience_s: float = PATIENCE_S
    """How long the scheduler, and a first worker, are waited for."""

    def map(
        self, function: Callable[[Item], ItemReport], items: Iterable[Item]
    ) -> Iterator[ItemReport]:
        """See ``Workers.map``.

        Raises:
            Unavailable: nobody answers at the address, or there is no worker, or they are lost.
            ConfigError: a worker has another Earmark than we have.
        """
        with self._client() as client:
            self._see_that_all_are_alike(client)
            with joblib.parallel_config(backend="dask", client=client):
                parallel = joblib.Parallel(return_as="generator", batch_size=1)
            yield from map_in_batches(parallel, function, items)

    @contextlib.contextmanager
    def _client(self) -> Iterator["distributed.Client"]:
        try:
            import distributed  # noqa: PLC0415 - 0.8 s, for who asks for a cluster
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"a cluster needs {error.name}, which is not installed",
                "pip install 'earmark[cluster]'",
            ) from error
        try:
            client = distributed.Client(self.address, timeout=self.patience_s)  # type: ignore[no-untyped-call] # all but this is typed
        except (OSError, ValueError) as error:
            raise Unavailable(f"no Dask scheduler answers at {self.address}", _HINT) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=self.patience_s)
            except TimeoutError as error:
                raise Unavailable(f"{self.address} has no worker", _HINT) from error
            yield client

    def _see_that_all_are_alike(self, client: "distributed.Client") -> None:
        """Refuse workers whose scores might be others than ours."""
        here = code_hash(), versions()
        for worker, there in client.run(_made_of).items():
            if there[0] != here[0]:
                raise ConfigError(
                    f"the worker {worker} has another Earmark than this one",
                    "install the same version on each",
                )
            if there[1] != here[1]:
                different = sorted(
                    name
                    for name in {*there[1], *here[1]}
                    if there[1].get(name) != here[1].get(name)
                )
                raise ConfigError(
                    f"the worker {worker} has another {different[0]} than this machine",
                    "scores may differ in their last digits; install the same versions on each",
                )


def _made_of() -> tuple[str, dict[str, str]]:
    return code_hash(), versions()
