import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError
from listener.evaluate.surveys.spans import Span, Spans, parse_spans

TEXT = """# what the television played
2026-03-04T20:00:00Z\t2026-03-04T20:30:00Z\tnews

2026-03-04T22:00:00+01:00\t2026-03-04T22:45:00+01:00\t a film
"""
EIGHT_S = 1_772_654_400.0

lengths = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=20)


def laid(lengths_s: list[tuple[int, int]]) -> list[Span]:
    spans, at = [], 0
    for index, (pause_s, length_s) in enumerate(lengths_s):
        spans.append(Span(at + pause_s, at + pause_s + length_s, str(index)))
        at += pause_s + length_s
    return spans


def test_a_file_of_spans_is_read_with_its_zones() -> None:
    spans = parse_spans(TEXT, "tv.tsv")

    assert list(spans) == [
        Span(EIGHT_S, EIGHT_S + 1800, "news"),
        Span(EIGHT_S + 3600, EIGHT_S + 3600 + 2700, "a film"),
    ]
    assert len(spans) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026-03-04T20:00:00Z news", "line 1: not begin, end and name"),
        ("2026-03-04T20:00:00Z\t2026-03-04T20:30:00Z\t ", "not begin, end and name"),
        ("yesterday\t2026-03-04T20:30:00Z\tnews", "'yesterday' is no time"),
        ("2026-03-04T20:00:00\t2026-03-04T20:30:00Z\tnews", "a time without its zone"),
        ("2026-03-04T20:30:00Z\t2026-03-04T20:30:00Z\tnews", "it ends before it begins"),
        (
            TEXT + "2026-03-04T20:20:00Z\t2026-03-04T20:40:00Z\tweather",
            "tv.tsv: news and weather overlap",
        ),
    ],
)
def test_what_is_no_span_is_said_with_its_line(line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_spans(line, "tv.tsv")


@given(lengths, st.integers(-10, 600))
def test_a_moment_is_in_the_span_that_holds_it(
    lengths_s: list[tuple[int, int]], time_s: int
) -> None:
    spans = laid(lengths_s)

    found = Spans(reversed(spans)).at(time_s)

    assert found == next((s for s in spans if s.begin_s <= time_s < s.end_s), None)


@given(lengths, st.integers(0, 600), st.integers(1, 300))
def test_within_and_outside_are_all_of_a_stretch(
    lengths_s: list[tuple[int, int]], begin_s: int, length_s: int
) -> None:
    spans = Spans(laid(lengths_s))
    end_s = begin_s + length_s

    inside = [(first_s, last_s) for _, first_s, last_s in spans.within(begin_s, end_s)]
    outside = list(spans.outside(begin_s, end_s))

    pieces = sorted([*inside, *outside])
    assert pieces[0][0] == begin_s
    assert pieces[-1][1] == end_s
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    assert all(spans.at(first_s) is None for first_s, _ in outside)
    assert all(spans.at(first_s) is not None for first_s, _ in inside)
