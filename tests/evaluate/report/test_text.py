"""Definitions, warnings and rates as text."""

import json
from dataclasses import replace

import msgspec
import pytest

from listener.evaluate.metrics.intervals import Rate, poisson, wilson
from listener.evaluate.metrics.results import SkippedItem, Target, WordResult
from listener.evaluate.plan import EvaluationPlan
from listener.evaluate.report import text
from listener.evaluate.report.text import (
    list_cautions,
    list_definitions,
    summary_lines,
    summary_objects,
)
from tests.evaluate import sample
from tests.evaluate.sample import COMPARISON, result, word_result


def word(**changes: object) -> WordResult:
    plain = msgspec.structs.replace(word_result("earmark", 1.0, ("a.wav",)), said="alexa")
    return msgspec.structs.replace(plain, **changes)


def chosen(**changes: object) -> Target:
    target = Target(
        per_hour=0.5, threshold=0.8, low=0.6, high=None, carried=False, still_needed_h=4.04
    )
    return msgspec.structs.replace(target, **changes)


def test_definitions_follow_the_plan() -> None:
    found = list_definitions(EvaluationPlan(hit_tail_s=0.75))

    assert "0.75 s" in found["hit"]
    assert {"wake", "hit", "miss", "false wake", "near miss", "hour"} <= found.keys()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hours": 0.0}, "so there is no false-wake rate"),
        ({"words_said": 0}, "so there is no miss rate"),
        ({"clipped_samples": 7}, "7 samples exceeded the range of int16 after mixing"),
        ({"target": chosen()}, "was chosen on these recordings"),
        ({"target": chosen()}, "1.94 h do not support a claim of fewer than 0.5 false wakes"),
        ({"target": chosen()}, "4.0 h more"),
        ({"target": chosen(threshold=None)}, "no threshold has so few"),
        ({"said": "election"}, "the transcript around 2 of its false wakes contains the word"),
    ],
)
def test_warnings_name_the_limits_of_a_result(changes: dict[str, object], said: str) -> None:
    assert any(said in caution for caution in list_cautions([word(**changes)], []))


def test_complete_result_has_no_warnings() -> None:
    assert list_cautions([word()], []) == ()
    assert isinstance(word().misses, Rate)


def test_missing_items_are_the_first_warning() -> None:
    found = list_cautions([word()], [SkippedItem(item="a", why="b")])

    assert found == ("1 item is missing from these results: see the list",)


NO_RATE = Rate(0, 0, None, None, None, 0.95, "poisson", "per hour")
RATE = Rate(3, 100, 0.03, 0.0103, 0.0846, 0.95, "wilson", "per word")


def test_rate_without_exposure_is_printed_as_none() -> None:
    assert text.percent(NO_RATE) == "no labelled word"
    assert text.per_hour(NO_RATE) == "no hours"
    assert text.format_rate(NO_RATE, 1, "").strip() == "none"


def test_rate_is_printed_with_its_interval() -> None:
    assert text.percent(RATE) == "3.0 % (1.0 to 8.5)"
    assert text.per_hour(RATE) == "0.030 per hour (0.010 to 0.085)"
    assert text.format_rate(RATE, 100, " %") == "3.0 % (1.0 to 8.5)"
    assert text.format_rate_html(RATE, 100, " %") == "<b>3.0 %</b> (1.0 to 8.5)"


def test_large_rate_has_no_exponent() -> None:
    many = replace(RATE, value=123_456.7, low=None)

    assert text.format_rate(many, 1, " per hour").strip() == "123,457 per hour"


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (wilson(1, 100), "1.0 (0.2 to 5.4)"),
        (wilson(0, 5), "0 (0 to 43)"),
        (wilson(30, 12_000), "0.25 (0.18 to 0.36)"),
        (poisson(9, 1.94), "464 (212 to 881)"),
        (poisson(3, 0.0001), "3,000,000 (618,672 to 8,767,273)"),
    ],
)
def test_value_and_both_bounds_have_the_same_decimals(rate: Rate, shown: str) -> None:
    assert text.format_rate(rate, 100, "") == shown


@pytest.mark.parametrize(
    ("per_hour", "shown"),
    [
        (1 / 24, "one a day"),
        (0.0416667, "one a day"),
        (1 / 168, "one a week"),
        (1.0, "one an hour"),
        (0.5, "0.5 per hour"),
        (0.1, "0.1 per hour"),
        (1 / 3, "0.333 per hour"),
    ],
)
def test_stated_rate_is_a_round_number(per_hour: float, shown: str) -> None:
    assert text.format_per_hour(per_hour) == shown


def test_unknown_figures_are_omitted() -> None:
    word = sample.word_result("earmark", 1, ("a.flac",))
    bare = msgspec.structs.replace(
        word,
        latency_s=(),
        activation_s=(),
        misses_by_speaker=None,
        false_wakes_by_recording=None,
    )

    assert text.list_figures(bare) == [("near misses", "14")]
    assert dict(text.list_figures(word)) == {
        "near misses": "14",
        "latency": "median 120 ms, 90 % 240 ms, 95 % 310 ms",
        "activation of false wakes": "median 0.24 s, 90 % 0.48 s, longest 0.80 s",
        "misses, bootstrap by speaker": "3.0 % (0.0 to 7.4)",
        "false wakes, bootstrap by recording": "1.0 per hour (0.0 to 4.0)",
    }


def test_text_summary_has_a_paragraph_for_each_word() -> None:
    found = msgspec.structs.replace(result("a.wav"), comparisons=(COMPARISON,))

    text = "\n".join(summary_lines(found))

    assert "earmark: alexa, clean, threshold 0.5 (manifest)" in text
    assert "misses       3 of 100: 3.0 % (" in text
    assert "per hour (" in text
    assert "by recording" in text
    assert "per 10,000 words" in text
    assert "fewer than 10 per hour: supported" in text
    assert "fewer than 0.5 per hour: not supported: 13.2 h more without a false wake needed" in text
    assert "fewer than 0.1 per hour: these recordings contradict it" in text
    assert "second only 9, both 1 of 100: p = 0.0654" in text
    assert "second only 6, both 3: p = 0.0312" in text
    assert "missing: a.wav: it is damaged" in text
    assert "note: 1.94 hours" in text


def test_target_is_shown_with_its_interval_or_unknown() -> None:
    target = Target(
        per_hour=0.5, threshold=0.8, low=0.6, high=None, carried=False, still_needed_h=4.0
    )
    whole = result("a.wav")
    word = msgspec.structs.replace(
        whole.words[0],
        engine="alexa",
        target=target,
        misses=wilson(0, 0),
        false_wakes=poisson(0, 0),
        false_wakes_by_recording=None,
        false_wakes_per_10000_words=None,
    )

    text = "\n".join(summary_lines(msgspec.structs.replace(whole, words=(word,))))

    assert text.startswith("alexa, clean, threshold 0.5")
    assert "threshold for 0.5 per hour: 0.8, interval 0.6 to unknown" in text
    assert text.count("no rate") == 2


def test_json_summary_has_one_object_a_line() -> None:
    found = msgspec.structs.replace(result("a.wav"), comparisons=(COMPARISON,))

    rows = [json.loads(line) for line in summary_objects(found)]

    assert [row.get("engine") for row in rows] == ["earmark", "openwakeword", None, None]
    assert rows[0]["misses"]["count"] == 3
    assert "events" not in rows[0]
    assert rows[2]["comparison"]["words_said"] == 100
    assert rows[3]["missing"] == {"item": "a.wav", "why": "it is damaged"}
