"""Who examines items: the processes of this machine, through joblib."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import joblib

from listener.evaluate.corpus.items import Item
from listener.evaluate.work import ItemReport

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
