import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES
from listener.errors import UsageError
from listener.evaluate.metrics.results import EventKind, Result, WordResult
from listener.evaluate.report.html import render_page
from listener.evaluate.survey import metrics
from listener.evaluate.survey.metrics import Moment, find_moments
from listener.evaluate.survey.reader import Span, Spans, merge
from listener.wakeword.detector import NearMiss, Rule, Trigger, Wake
from tests.evaluate.made_traces import BEGAN, rises, write_trace

pytestmark = pytest.mark.system  # whole surveys

BEGAN_S = BEGAN.timestamp()
HOUR = 45_000


def judged(
    path: Path,
    threshold: float | None = None,
    *,
    excluded: Spans | None = None,
    stimuli: Spans | None = None,
) -> WordResult:
    stimuli = stimuli or Spans()
    merged = merge([path], excluded or Spans(), stimuli)
    thresholds = {} if threshold is None else {"alexa": threshold}
    return metrics.compute_rates(merged, stimuli, thresholds)[0]


def wakes(word: WordResult) -> list[float]:
    return [event.at_s for event in word.events if event.kind is EventKind.FALSE_WAKE]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.15, 0.3, 0.5, 0.8, 1.0]), min_size=1, max_size=300),
    st.sampled_from([0.05, 0.1, 0.25, 0.5, 0.9]),
    # The trace was made at 0.5, and is judged at another threshold.
    st.builds(
        Rule, st.just(0.5), st.integers(1, 3), st.sampled_from([0, 2000, 32_000]), st.just(0.2)
    ),
    st.lists(st.integers(0, 300), max_size=3),
)
def test_trace_gives_the_wakes_of_the_device_at_any_threshold(
    tmp_path_factory: pytest.TempPathFactory,
    scores: list[float],
    threshold: float,
    rule: Rule,
    gaps: list[int],
) -> None:
    path = tmp_path_factory.mktemp("survey") / "a"
    write_trace(path, {"alexa": scores}, rule=rule, floor=0.05, gaps=gaps)

    word = judged(path, threshold)

    trigger = Trigger("alexa", dataclasses.replace(rule, threshold=threshold))
    expected: list[Wake | NearMiss | None] = []
    at = 0
    for index, score in enumerate(scores):
        if index in gaps:
            trigger.restart()
            at += 16_000
        at += FRAME_SAMPLES
        expected.append(trigger.push(score, at))
    ends = [e.end_sample for e in expected if isinstance(e, Wake)]
    day_s = BEGAN_S % 86_400
    assert wakes(word) == pytest.approx([day_s + end / 16_000 for end in ends], abs=0.002)
    (point,) = [p for p in word.curve if p.threshold == threshold]
    assert point.false_wakes.count == len(ends)


def test_rates_are_per_hour_of_audio(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2 * HOUR, 1000, 30_000, 70_000)})

    word = judged(tmp_path / "a")

    assert word.hours == pytest.approx(2)
    assert word.false_wakes.count == 3
    assert word.false_wakes.value == pytest.approx(1.5)
    assert word.false_wakes.low == pytest.approx(0.6187 / 2, abs=1e-3)  # Garwood, 3 events
    assert word.false_wakes.high == pytest.approx(8.7673 / 2, abs=1e-3)
    assert [claim.carried for claim in word.claims] == [False] * 4


def test_excluded_spans_remove_wakes_and_time(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(HOUR, 1000, 30_000)})
    marked = Spans([Span(BEGAN_S, BEGAN_S + 900, "we said it ourselves")])

    word = judged(tmp_path / "a", excluded=marked)

    assert word.hours == pytest.approx(0.75)
    assert word.false_wakes.count == 1


def test_wake_has_stimulus_and_position(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(HOUR, 1000, 30_000)})
    played = Spans([Span(BEGAN_S + 20, BEGAN_S + 1000, "news")])

    word = judged(tmp_path / "a", stimuli=played)

    clips = [event.clip for event in word.events if event.kind is EventKind.FALSE_WAKE]
    assert clips == ["news +0:01:00", None]
    rates = {row.name: row.false_wakes for row in word.groups}
    assert rates["playing news"].value == pytest.approx(3600 / 980)
    assert rates["nothing playing"].exposure == pytest.approx(2620 / 3600)
    assert rates["device hall"].count == 2


def test_repeated_stimulus_counts_the_plays_that_woke(tmp_path: Path) -> None:
    # Played three times of 400 s; the place at 100 s wakes each time, that at 300 s once.
    places = [round((start + 100) / 0.08) for start in (0, 500, 1000)]
    write_trace(tmp_path / "a", {"alexa": rises(20_000, *places, round(800 / 0.08))})
    played = Spans([Span(BEGAN_S + s, BEGAN_S + s + 400, "news") for s in (0, 500, 1000)])

    word = judged(tmp_path / "a", stimuli=played)

    assert [(r.item, round(r.at_s), r.fired, r.plays) for r in word.repeatability] == [
        ("news", 100, 3, 3),
        ("news", 300, 1, 3),
    ]


def test_single_play_has_no_repeatability(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1000)})
    played = Spans([Span(BEGAN_S, BEGAN_S + 400, "news")])

    assert judged(tmp_path / "a", stimuli=played).repeatability == ()


def test_wake_is_listed_under_its_device_and_day(tmp_path: Path) -> None:
    for device in ("hall", "attic"):
        write_trace(tmp_path / "a", {"alexa": rises(200, 100)}, device=device)
    write_trace(tmp_path / "a", {"alexa": rises(200, 100)}, began=BEGAN + timedelta(days=1))

    word = judged(tmp_path / "a")

    lanes = [event.item for event in word.events if event.kind is EventKind.FALSE_WAKE]
    assert lanes == ["attic 2026-03-04", "hall 2026-03-04", "hall 2026-03-05"]
    assert {excerpt.length_s for excerpt in word.excerpts} == {86_400}
    assert word.items == 3


def test_threshold_below_the_floor_is_an_error(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(200, 100)}, floor=0.3)

    with pytest.raises(UsageError, match=r"below the floor 0\.3"):
        judged(tmp_path / "a", 0.2)
    assert min(point.threshold for point in judged(tmp_path / "a").curve) == 0.3


def test_word_missing_from_the_traces_is_an_error(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"timer": rises(200, 100)})

    with pytest.raises(UsageError, match="no trace has scores of alexa"):
        judged(tmp_path / "a", 0.5)


def test_survey_warnings_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_trace(path, {"alexa": rises(2000, 1000)}, gaps=(5, 6))
    with path.open("ab") as file:
        file.write(b"nothing\n")
    merged = merge([path], Spans(), Spans())

    said = " ".join(metrics.list_warnings(merged, metrics.compute_rates(merged, Spans(), {})))

    assert "no span was excluded" in said
    assert "hours are missing (overrun)" in said
    assert "could not be read" in said


def test_empty_traces_have_no_rate(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": []})
    merged = merge([tmp_path / "a"], Spans(), Spans())

    (word,) = metrics.compute_rates(merged, Spans(), {})

    assert word.false_wakes.value is None
    assert metrics.list_warnings(merged, (word,)) == (
        "the traces contain no audio, so there is no rate",
    )


def test_survey_has_an_html_report(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(HOUR, 1000, 30_000)})
    played = Spans([Span(BEGAN_S + 20, BEGAN_S + 1000, "<b>news</b>")])
    result = Result(
        plan={},
        hashes={},
        versions={},
        definitions=metrics.DEFINITIONS,
        warnings=(),
        missing=(),
        words=(judged(tmp_path / "a", stimuli=played),),
    )

    text = render_page(result, "a survey")

    assert "False wakes by group" in text
    assert "&lt;b&gt;news&lt;/b&gt; +0:01:00" in text
    assert "no labelled word" in text


def found(path: Path, threshold: float, stimuli: Spans) -> list[Moment]:
    merged = merge([path], Spans(), stimuli)
    return [one for chain in merged.chains for one in find_moments(chain, stimuli, threshold)]


def test_excerpt_around_a_wake_has_the_scores_of_the_trace(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1000, 1010)})

    first = found(tmp_path / "a", 0.5, Spans())[0].excerpt

    peak = round((first.at_s - first.first_s) / first.step_s)
    assert first.scores[peak] == pytest.approx(0.9)
    assert first.scores[peak + 10] == pytest.approx(0.9)
    assert sum(score > 0 for score in first.scores) == 6


def test_wake_event_has_device_day_and_stimulus(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1000)})
    played = Span(BEGAN_S + 20, BEGAN_S + 1000, "news")

    (wake,) = found(tmp_path / "a", 0.5, Spans([played]))

    assert wake.event.kind is EventKind.FALSE_WAKE
    assert (wake.device, wake.day, wake.span) == ("hall", int(BEGAN_S // 86_400), played)
    assert wake.event.item == "hall 2026-03-04"
    assert wake.event.clip == "news +0:01:00"


def test_wake_below_a_higher_threshold_is_a_near_miss(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1000)})

    (near,) = found(tmp_path / "a", 0.95, Spans())

    assert near.event.kind is EventKind.NEAR_MISS
    assert near.event.score == pytest.approx(0.9)
    assert near.event.activation_s == 0.0
