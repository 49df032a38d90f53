import dataclasses
import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES
from listener.errors import ConfigError, Unavailable
from listener.evaluate.survey.reader import MOST_TROUBLES, Span, Spans, merge, parse_spans
from tests.evaluate.made_traces import BEGAN, rises, write_trace

BEGAN_S = BEGAN.timestamp()
DAY = int(BEGAN_S // 86_400)


def test_merged_scores_are_sparse_with_their_times(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1500)})

    merged = merge([tmp_path / "a"], Spans(), Spans())

    (chain,) = merged.chains
    assert chain.scores.tolist() == pytest.approx([0.3, 0.9, 0.3, 0])
    assert chain.ends.tolist() == [step * FRAME_SAMPLES for step in (1500, 1501, 1502, 1503)]
    assert chain.utc_s.tolist() == pytest.approx(
        [BEGAN_S + step * 0.08 for step in range(1500, 1504)]
    )
    assert (chain.device, chain.word) == ("hall", "alexa")


def test_separate_runs_have_a_zero_step_between_them(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(100, 20, 24, 60)})

    (chain,) = merge([tmp_path / "a"], Spans(), Spans()).chains

    assert chain.scores.tolist() == pytest.approx([0.3, 0.9, 0.3, 0] * 3)
    assert (chain.ends[1:] > chain.ends[:-1]).all()


def test_hours_exclude_gaps(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": [0.0] * 2000}, gaps=(500, 1000))

    merged = merge([tmp_path / "a"], Spans(), Spans())

    assert merged.heard_s == pytest.approx({("hall", DAY): 160})
    assert merged.missing_s == pytest.approx({"overrun": 2})


def test_trace_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(3000, 100, 2500)}, gaps=(500,))
    (tmp_path / "copy").write_bytes((tmp_path / "a").read_bytes())
    # A copy from an earlier day has the beginning.
    lines = (tmp_path / "a").read_bytes().splitlines(keepends=True)
    (tmp_path / "part").write_bytes(b"".join(lines[:3]))

    alone = merge([tmp_path / "a"], Spans(), Spans())
    for paths in (("a", "a"), ("a", "copy"), ("part", "a"), ("a", "part", "copy")):
        merged = merge([tmp_path / name for name in paths], Spans(), Spans())

        assert merged.heard_s == alone.heard_s
        assert merged.missing_s == alone.missing_s
        assert sum(len(chain.ends) for chain in merged.chains) == sum(
            len(chain.ends) for chain in alone.chains
        )
        assert merged.repeated_s > 0
    assert alone.repeated_s == 0


def test_gap_ends_the_chain(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(200, 99, 102)}, gaps=(101,))

    chains = merge([tmp_path / "a"], Spans(), Spans()).chains

    assert len(chains) == 2


def test_excluded_spans_are_omitted_with_their_scores(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 500, 1500)})
    marked = Spans([Span(BEGAN_S + 30, BEGAN_S + 60, "guests")])

    merged = merge([tmp_path / "a"], marked, Spans())

    assert sum(merged.heard_s.values()) == pytest.approx(130)
    assert merged.excluded_s == pytest.approx(30)
    (chain,) = merged.chains
    assert chain.ends[0] == 1500 * FRAME_SAMPLES


def test_hours_are_counted_with_and_without_stimulus(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": [0.0] * 2000})
    played = Spans(
        [Span(BEGAN_S + 10, BEGAN_S + 50, "news"), Span(BEGAN_S + 100, BEGAN_S + 500, "film")]
    )
    marked = Spans([Span(BEGAN_S + 20, BEGAN_S + 30, "guests")])

    merged = merge([tmp_path / "a"], marked, played)

    assert merged.stimulus_s == pytest.approx({"news": 30, "film": 60, "": 60})


def test_devices_and_days_have_separate_chains(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": [0.0] * 1000})
    write_trace(tmp_path / "b", {"alexa": [0.0] * 1000}, device="attic")
    write_trace(tmp_path / "b", {"alexa": [0.0] * 1000}, device="attic", began=BEGAN + timedelta(1))

    merged = merge([tmp_path / "a", tmp_path / "b"], Spans(), Spans())

    assert merged.heard_s == pytest.approx(
        {("hall", DAY): 80, ("attic", DAY): 80, ("attic", DAY + 1): 80}
    )


def test_damaged_lines_are_reported_and_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_trace(path, {"alexa": rises(3000, 100, 2500)})
    lines = path.read_bytes().splitlines()
    lines[2] = lines[2][:-9]
    path.write_bytes(b"\n".join(lines) + b"\n")

    merged = merge([path], Spans(), Spans())

    assert [trouble.item for trouble in merged.troubles] == ["a, line 3"]
    assert sum(merged.heard_s.values()) == pytest.approx(180)
    assert len(merged.chains) == 2


def test_many_damaged_lines_are_one_warning(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nothing\n" * (MOST_TROUBLES + 30))

    merged = merge([tmp_path / "a"], Spans(), Spans())

    assert len(merged.troubles) == MOST_TROUBLES + 1
    assert str(MOST_TROUBLES + 30) in merged.troubles[-1].why


def test_missing_line_ends_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_trace(path, {"alexa": rises(3000, 740, 1600)})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))

    merged = merge([path], Spans(), Spans())

    assert len(merged.chains) == 2


def test_trace_without_opening_line_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_trace(path, {"alexa": rises(100, 50)})
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))

    merged = merge([path], Spans(), Spans())

    assert merged.chains == []
    assert not merged.heard_s


def test_merged_floor_is_the_highest_floor(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": [0.0]}, floor=0.02)
    write_trace(tmp_path / "b", {"alexa": [0.0]}, floor=0.1)

    assert merge([tmp_path / "a", tmp_path / "b"], Spans(), Spans()).floor == 0.1


def test_two_models_for_one_word_are_not_merged(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": [0.0]})
    write_trace(tmp_path / "b", {"alexa": [0.0]}, sha256="cd" * 32)

    with pytest.raises(ConfigError, match="b uses a different model for alexa"):
        merge([tmp_path / "a", tmp_path / "b"], Spans(), Spans())


def test_missing_trace_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot read"):
        merge([tmp_path / "a"], Spans(), Spans())


def test_chains_have_one_word_and_equal_array_lengths(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(100, 50), "timer": rises(100, 70)})

    chains = merge([tmp_path / "a"], Spans(), Spans()).chains

    assert {chain.word for chain in chains} == {"alexa", "timer"}
    assert all(len({len(getattr(c, n)) for n in ("ends", "scores", "utc_s")}) == 1 for c in chains)
    assert dataclasses.is_dataclass(chains[0])


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


def test_span_file_is_read_with_time_zones() -> None:
    spans = parse_spans(TEXT, "tv.tsv")

    assert list(spans) == [
        Span(EIGHT_S, EIGHT_S + 1800, "news"),
        Span(EIGHT_S + 3600, EIGHT_S + 3600 + 2700, "a film"),
    ]
    assert len(spans) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026-03-04T20:00:00Z news", "line 1: expected begin, end and name"),
        ("2026-03-04T20:00:00Z\t2026-03-04T20:30:00Z\t ", "expected begin, end and name"),
        ("yesterday\t2026-03-04T20:30:00Z\tnews", "'yesterday' is not an ISO 8601 time"),
        ("2026-03-04T20:00:00\t2026-03-04T20:30:00Z\tnews", "a time without a time zone"),
        ("2026-03-04T20:30:00Z\t2026-03-04T20:30:00Z\tnews", "the end is not after the begin"),
        (
            TEXT + "2026-03-04T20:20:00Z\t2026-03-04T20:40:00Z\tweather",
            "tv.tsv: the spans news and weather overlap",
        ),
    ],
)
def test_invalid_span_is_an_error_with_its_line(line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_spans(line, "tv.tsv")


@given(lengths, st.integers(-10, 600))
def test_span_lookup_finds_the_span_at_a_time(
    lengths_s: list[tuple[int, int]], time_s: int
) -> None:
    spans = laid(lengths_s)

    found = Spans(reversed(spans)).at(time_s)

    assert found == next((s for s in spans if s.begin_s <= time_s < s.end_s), None)


@given(lengths, st.integers(0, 600), st.integers(1, 300))
def test_within_and_outside_cover_an_interval(
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
