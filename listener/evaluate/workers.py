"""Who examines items: the processes of this machine."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import joblib

from listener.evaluate.corpus import Item
from listener.evaluate.work import ItemReport


@dataclass(frozen=True, slots=True)
class Processes:
    """Worker processes; with one, the work is done in this process."""

    jobs: int
    """How many; -1: one for each core."""

    def map(
        self, function: Callable[[Item], ItemReport], items: Iterable[Item]
    ) -> Iterator[ItemReport]:
        """See ``Workers.map``."""
        # One item at a time: an item may be a day, and its worker must not hold up another's.
        parallel = joblib.Parallel(self.jobs, return_as="generator", batch_size=1)
        reports: Iterator[ItemReport] = parallel(joblib.delayed(function)(item) for item in items)
        return reports
