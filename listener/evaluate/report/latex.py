r"""Table of the rates for LaTeX, with the rules of the package booktabs. Pure."""

import math
from collections.abc import Iterator
from typing import Final

from listener.evaluate.metrics.results import Result, WordResult
from listener.evaluate.report.text import format_cost, format_rate

_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def latex_table(result: Result) -> str:
    r"""Return ``table.tex``: a ``tabular`` with a row for each engine, word and condition.

    It needs ``\usepackage{booktabs}``, and for names beyond ASCII an engine that reads UTF-8, as
    every engine does since 2018.
    """
    words = result.words
    has_costs = any(word.costs for word in words)
    has_conditions = len({word.condition for word in words}) > 1
    speeds = {speed.engine: speed for speed in result.speeds}
    head = ["Engine", "Word", *(["Condition"] if has_conditions else []), "Threshold"]
    head += [r"Misses (\%)", "False wakes per hour", "Hours"]
    head += ["Cost"] if has_costs else []
    head += ["Real-time factor"] if speeds else []
    text = 3 if has_conditions else 2
    lines = [
        "% Made by earmark evaluate. 95 % intervals in brackets: Wilson, Garwood.",
        f"% corpus sha256 {result.hashes.get('corpus', 'unknown')}",
        f"\\begin{{tabular}}{{{'l' * text}{'r' * (len(head) - text)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    for word in words:
        cells = [word.engine, word.word, *([word.condition] if has_conditions else [])]
        row = [escape(cell) for cell in cells] + list(_numbers(word))
        if has_costs:
            row.append(format_cost(word.costs[0].actual) if word.costs else "--")
        if speeds:
            speed = speeds.get(word.engine)
            row.append(f"{speed.real_time_factor:.3g}" if speed else "--")
        lines.append(" & ".join(row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escape(text: str) -> str:
    """Return text whose special characters LaTeX prints as they are, without control characters."""
    shown = "".join(_SPECIAL.get(letter, letter) for letter in text if letter.isprintable())
    return shown.encode("utf-8", "replace").decode("utf-8")


def _numbers(word: WordResult) -> Iterator[str]:
    yield f"{word.threshold:g}"
    yield "--" if word.misses.value is None else format_rate(word.misses, 100, "")
    yield "--" if word.false_wakes.value is None else format_rate(word.false_wakes, 1, "")
    decimals = 2 if word.hours <= 0 else max(0, 2 - math.floor(math.log10(word.hours)))
    yield f"{word.hours:.{min(decimals, 4)}f}"
