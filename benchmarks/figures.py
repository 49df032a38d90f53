"""Medians, percentiles and ratios of measurements. Pure."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Results = Mapping[str, Any]

OURS: Final = "earmark"
STAGES_ON: Final = "earmark-stages"
REFERENCE: Final = "openwakeword"
PEER: Final = "pymicro"
ALL_WORDS: Final = "earmark-all"
ENGINES: Final = {
    OURS: "Earmark",
    STAGES_ON: "Earmark, first stage on",
    ALL_WORDS: "Earmark, first stage on, all words",
    REFERENCE: "openwakeword 0.4.0",
    PEER: "pymicro-wakeword 2.5.0",
}
SOUNDS: Final = {
    "talk": "speech",
    "speech": "speech with the word",
    "quiet": "quiet room",
    "silence": "digital silence",
}
"""Kinds of audio. The second has the wake word in it every few seconds."""
STAGES: Final = {
    "endpoint": "endpoint",
    "carry": "seal and carry",
    "open": "open and decode",
    "recognise": "recognise",
    "act": "act",
}
"""Stages of a spoken command in their order."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, minimum and maximum of a few runs."""

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        """Return e.g. ``3.46 (2.65 to 4.41)``."""
        return f"{number(self.median)} ({number(self.least)} to {number(self.greatest)})"


def number(value: float) -> str:
    """Return ``value`` with about three digits, and no exponent."""
    if value == int(value) and abs(value) >= 1:
        return str(int(value))
    for least, decimals in ((100, 0), (10, 1), (0.1, 2)):
        if abs(value) >= least:
            return f"{value:.{decimals}f}"
    return f"{value:.3f}"


def spread(values: Iterable[float]) -> Spread:
    """Return median, minimum and maximum of ``values``.

    Raises:
        ValueError: there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("nothing was measured")
    return Spread(statistics.median(ordered), ordered[0], ordered[-1])


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` of ``values`` do not exceed.

    Args:
        values: at least one.
        percent: above 0, at most 100.
    """
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def paired_ratios(
    runs: Sequence[Mapping[str, Any]],
    sound: str,
    figure: str,
    ours: str = OURS,
    reference: str = REFERENCE,
) -> list[float]:
    """Return the reference engine's ``figure`` divided by Earmark's, for each round with both."""
    by_round: dict[int, dict[str, float]] = {}
    for run in runs:
        if run["sound"] == sound:
            by_round.setdefault(run["round"], {})[run["engine"]] = run[figure]
    return [
        each[reference] / each[ours]
        for each in by_round.values()
        if reference in each and ours in each
    ]


def cpu_runs(results: Results) -> Sequence[Mapping[str, Any]]:
    """Return the runs of the part ``cpu``; empty if it was not measured."""
    runs: Sequence[Mapping[str, Any]] = results.get("cpu", {}).get("runs", ())
    return runs
