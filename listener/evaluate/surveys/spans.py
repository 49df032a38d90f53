"""Stretches of a day with a name: what the television played when, or what must not count. Pure.

A file of spans is text, one a line: begin, end and name, with tabs between. Times are ISO 8601
with their zone (``2026-03-04T20:15:00Z``, ``2026-03-04T21:15:00+01:00``); lines that are empty or
begin with ``#`` are passed over.
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from listener.errors import ConfigError

NAME_CHARS: Final = 200


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of time, in seconds of the Unix era."""

    begin_s: float
    end_s: float
    name: str


class Spans:
    """Spans by time. They may touch, and must not overlap."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """Take them in any order.

        Raises:
            ConfigError: two overlap.
        """
        self._spans: tuple[Span, ...] = tuple(sorted(spans))
        for before, after in zip(self._spans, self._spans[1:], strict=False):
            if after.begin_s < before.end_s:
                raise ConfigError(f"{before.name} and {after.name} overlap", "one at a time")

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def at(self, time_s: float) -> Span | None:
        """Return the span that holds a moment."""
        index = bisect.bisect_right(self._spans, time_s, key=lambda span: span.begin_s) - 1
        if index >= 0 and time_s < self._spans[index].end_s:
            return self._spans[index]
        return None

    def within(self, begin_s: float, end_s: float) -> Iterator[tuple[Span, float, float]]:
        """Yield each span that a stretch touches, with begin and end of what they share."""
        index = max(0, bisect.bisect_right(self._spans, begin_s, key=lambda s: s.begin_s) - 1)
        for span in self._spans[index:]:
            if span.begin_s >= end_s:
                return
            first_s, last_s = max(span.begin_s, begin_s), min(span.end_s, end_s)
            if last_s > first_s:
                yield span, first_s, last_s

    def outside(self, begin_s: float, end_s: float) -> Iterator[tuple[float, float]]:
        """Yield what is left of a stretch when the spans are taken out of it."""
        at_s = begin_s
        for _, first_s, last_s in self.within(begin_s, end_s):
            if first_s > at_s:
                yield at_s, first_s
            at_s = last_s
        if end_s > at_s:
            yield at_s, end_s


def parse_spans(text: str, source: str) -> Spans:
    """Read a file of spans.

    Args:
        text: of the file.
        source: its name, for messages.

    Raises:
        ConfigError: a line is no span, or two overlap; the message has the line's number.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            found.append(_span(line.split("\t"), f"{source}, line {number}"))
    try:
        return Spans(found)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}", error.hint) from error


def _span(cells: Sequence[str], where: str) -> Span:
    hint = "begin, end and name with tabs between: 2026-03-04T20:15:00Z, …T21:00:00Z, news"
    if len(cells) != 3 or not cells[2].strip():  # noqa: PLR2004 - begin, end, name
        raise ConfigError(f"{where}: not begin, end and name", hint)
    begin_s, end_s = _time_s(cells[0], where), _time_s(cells[1], where)
    if end_s <= begin_s:
        raise ConfigError(f"{where}: it ends before it begins", hint)
    return Span(begin_s, end_s, cells[2].strip()[:NAME_CHARS])


def _time_s(text: str, where: str) -> float:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"{where}: {text.strip()[:40]!r} is no time") from error
    if time.tzinfo is None:
        raise ConfigError(f"{where}: a time without its zone", "end it with Z or +01:00")
    return time.astimezone(UTC).timestamp()
