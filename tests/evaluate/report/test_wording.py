"""What a reader must know before quoting a number, in words."""

import msgspec
import pytest

from listener.evaluate.plan import EvaluationPlan
from listener.evaluate.rates.intervals import Rate
from listener.evaluate.rates.result import SkippedItem, Target, WordResult
from listener.evaluate.report.wording import list_cautions, list_definitions
from tests.evaluate.sample import word_result


def word(**changes: object) -> WordResult:
    plain = msgspec.structs.replace(word_result("earmark", 1.0, ("a.wav",)), said="alexa")
    return msgspec.structs.replace(plain, **changes)


def chosen(**changes: object) -> Target:
    target = Target(
        per_hour=0.5, threshold=0.8, low=0.6, high=None, carried=False, still_needed_h=4.04
    )
    return msgspec.structs.replace(target, **changes)


def test_definitions_say_what_the_plan_says() -> None:
    found = list_definitions(EvaluationPlan(hit_tail_s=0.75))

    assert "0.75 s" in found["hit"]
    assert {"wake", "hit", "miss", "false wake", "near miss", "hour"} <= found.keys()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hours": 0.0}, "nothing is known of false wakes"),
        ({"words_said": 0}, "nothing is known of misses"),
        ({"clipped_samples": 7}, "mixing drove 7 samples beyond int16"),
        ({"target": chosen()}, "was chosen on these very sounds"),
        ({"target": chosen()}, "1.94 h cannot carry a claim of fewer than 0.5 false wakes"),
        ({"target": chosen()}, "4.0 h more"),
        ({"target": chosen(threshold=None)}, "no threshold brings so few"),
        ({"said": "election"}, "the transcript around 2 of its false wakes holds the word"),
    ],
)
def test_what_limits_a_number_is_said(changes: dict[str, object], said: str) -> None:
    assert any(said in caution for caution in list_cautions([word(**changes)], []))


def test_a_plain_result_needs_no_words() -> None:
    assert list_cautions([word()], []) == ()
    assert isinstance(word().misses, Rate)


def test_what_is_missing_is_said_first() -> None:
    found = list_cautions([word()], [SkippedItem(item="a", why="b")])

    assert found == ("1 thing is missing from these figures: see the list",)
