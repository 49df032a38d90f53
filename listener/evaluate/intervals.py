"""Rates with their uncertainty. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate, and the interval that holds it."""

    count: float
    """Events; a mean over repeated plays may be a fraction."""
    exposure: float
    """Trials, hours or words that could have brought one."""
    value: float | None
    """``count / exposure``; None without exposure."""
    low: float | None
    high: float | None
    confidence: float
    method: str
    """``wilson``, ``clopper-pearson``, ``poisson`` or ``bootstrap``."""
    unit: str
    """``per word``, ``per hour``, ``per 10000 words``."""
