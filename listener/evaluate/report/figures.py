"""Rates and their intervals, written for people: on the page and beside its pictures. Pure."""

from markupsafe import Markup

from listener.evaluate.rates.intervals import Rate
from listener.evaluate.rates.result import WordResult


def list_figures(word: WordResult) -> list[tuple[str, str]]:
    """Return what is worth a line, with its name."""
    found = [("near misses", f"{word.near_misses:,}")]
    if word.latency_s:
        shown = zip(("median", "90 %", "95 %"), word.latency_s, strict=False)
        latency = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in shown)
        found.append(("from the end of the word to the wake", latency))
    if word.activation_s:
        shown = zip(("median", "90 %", "longest"), word.activation_s, strict=False)
        held = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in shown)
        found.append(("false wakes held the threshold for", held))
    if word.misses_by_speaker:
        found.append(("misses, speakers resampled", format_rate(word.misses_by_speaker, 100, " %")))
    if word.false_wakes_by_recording:
        rate = format_rate(word.false_wakes_by_recording, 1, " per hour")
        found.append(("false wakes, recordings resampled", rate))
    return found


def percent(rate: Rate) -> str:
    """Write a rate of misses with its interval."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "nothing to miss"
    return f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})".replace("%", " %")


def per_hour(rate: Rate) -> str:
    """Write a rate of false wakes with its interval."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "no hours"
    return f"{rate.value:.3g} per hour ({rate.low:.2g} to {rate.high:.3g})"


def format_rate_html(rate: Rate, factor: float, unit: str) -> Markup:
    """Write a rate in bold, and its interval, as markup.

    Args:
        rate: any; without a value it is ``none``.
        factor: by which all its numbers are multiplied: 100 for a percentage.
        unit: stands behind the value, with the space that it wants.
    """
    value, interval = _value(rate, factor, unit)
    return Markup("<b>{}</b> {}").format(value, interval)


def format_rate(rate: Rate, factor: float, unit: str) -> str:
    """Write a rate and its interval as text; see ``format_rate_html``."""
    return " ".join(_value(rate, factor, unit))


def _value(rate: Rate, factor: float, unit: str) -> tuple[str, str]:
    if rate.value is None:
        return "none", ""
    if rate.low is None or rate.high is None:
        return f"{_digits(rate.value * factor)}{unit}", ""
    bounds = f"({_digits(rate.low * factor)} to {_digits(rate.high * factor)})"
    return f"{_digits(rate.value * factor)}{unit}", bounds


def _digits(value: float) -> str:
    """Write with as many digits as a rate deserves."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004 - no exponents
