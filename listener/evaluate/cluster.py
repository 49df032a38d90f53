"""The same work on a Dask cluster, through joblib: more machines, the same result.

The workers need this version of Earmark with the same packages, and the corpus at the same paths:
a shared disk, mostly. What is sent to them is a recipe and an item, never sound.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import joblib

from listener.errors import ConfigError, Unavailable
from listener.evaluate.corpus.items import Item
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.work import ItemReport
from listener.evaluate.workers import map_in_batches

if TYPE_CHECKING:
    import distributed

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
