"""In how many plays of the same sound a word, or a false wake, fired. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.result import Repeatability

SAME_S: Final = 0.5
"""False wakes of several plays that are this close are the same one."""

Hits = dict[tuple[str, int], tuple[float, list[bool]]]
"""By item and place in it: where the window opens, and whether each play woke."""


def measure_repeatability(
    hits: Hits, events: Sequence[DetectionEvent], plays: int
) -> tuple[Repeatability, ...]:
    """Say of each word, and of each place of false wakes, how many plays fired.

    Args:
        hits: of the words that were said.
        events: of any kind, of all plays; only false wakes are looked at.
        plays: of each item.
    """
    words = [
        Repeatability(kind=EventKind.HIT, item=item, at_s=at_s, fired=sum(woke), plays=plays)
        for (item, _), (at_s, woke) in hits.items()
    ]
    false = [event for event in events if event.kind is EventKind.FALSE_WAKE]
    return (*words, *_places(false, plays))


def _places(events: Iterable[DetectionEvent], plays: int) -> list[Repeatability]:
    """Put the false wakes of several plays together where they are the same."""
    found: list[Repeatability] = []
    fired: set[int] = set()
    at: tuple[str, float] | None = None
    for event in sorted(events, key=lambda event: (event.item, event.at_s, event.play)):
        if at is None or event.item != at[0] or event.at_s - at[1] > SAME_S:
            at, fired = (event.item, event.at_s), set()
            found.append(
                Repeatability(
                    kind=EventKind.FALSE_WAKE,
                    item=event.item,
                    at_s=event.at_s,
                    fired=0,
                    plays=plays,
                )
            )
        fired.add(event.play)
        found[-1] = Repeatability(
            kind=EventKind.FALSE_WAKE, item=at[0], at_s=at[1], fired=len(fired), plays=plays
        )
    return found
