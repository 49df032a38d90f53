"""Two engines for one word on the same sounds: paired, never by overlapping bars. Pure."""

from collections.abc import Mapping, Sequence

from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.intervals import mcnemar, rate_ratio
from listener.evaluate.rates.result import Comparison

Outcomes = Mapping[tuple[str, int], bool]
"""Of each labelled word, by item and place in it: whether it woke, in the first play."""


def compare_engines(  # noqa: PLR0913 - two engines under one condition, a pair for each thing compared
    word: str,
    condition: str,
    names: tuple[str, str],
    outcomes: tuple[Outcomes, Outcomes],
    events: tuple[Sequence[DetectionEvent], Sequence[DetectionEvent]],
    *,
    same_s: float,
) -> Comparison:
    """Compare two engines.

    Args:
        word: as labels call it.
        condition: under which both heard the sounds.
        names: of the engines.
        outcomes: of the labelled words that both heard.
        events: of each; the false wakes of the first play count.
        same_s: false wakes of the two that are this close are one and the same.
    """
    both = sorted(outcomes[0].keys() & outcomes[1].keys())
    pairs = [(outcomes[0][place], outcomes[1][place]) for place in both]
    only_first_missed = sum(second and not first for first, second in pairs)
    only_second_missed = sum(first and not second for first, second in pairs)
    false = tuple(_false_wakes(each) for each in events)
    shared = _shared(false[0], false[1], same_s)
    only_first, only_second = len(false[0]) - shared, len(false[1]) - shared
    low, high, p = rate_ratio(only_first, only_second)
    return Comparison(
        word=word,
        condition=condition,
        first=names[0],
        second=names[1],
        words_said=len(pairs),
        both_missed=sum(not first and not second for first, second in pairs),
        only_first_missed=only_first_missed,
        only_second_missed=only_second_missed,
        misses_p=mcnemar(only_first_missed, only_second_missed),
        both_false=shared,
        only_first_false=only_first,
        only_second_false=only_second,
        false_wakes_p=p,
        ratio_low=low,
        ratio_high=high,
    )


def _false_wakes(events: Sequence[DetectionEvent]) -> list[tuple[str, float]]:
    """Return where the false wakes of the first play are, in order."""
    return sorted(
        (event.item, event.at_s)
        for event in events
        if event.kind is EventKind.FALSE_WAKE and event.play == 0
    )


def _shared(
    first: Sequence[tuple[str, float]], second: Sequence[tuple[str, float]], same_s: float
) -> int:
    """Count the pairs of one of each that are close, each taken once, the earliest first."""
    shared = at = 0
    for item, at_s in first:
        while at < len(second) and (
            second[at][0] < item or (second[at][0] == item and second[at][1] < at_s - same_s)
        ):
            at += 1
        if at < len(second) and second[at][0] == item and second[at][1] <= at_s + same_s:
            shared += 1
            at += 1
    return shared
