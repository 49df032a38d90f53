"""Comparison of stored results."""

import msgspec
import pytest

from listener.errors import ConfigError, UsageError
from listener.evaluate.compare import compare_results, read_result
from listener.evaluate.metrics.results import (
    DetectionEvent,
    EventKind,
    Result,
    WordOutcome,
    WordResult,
)
from listener.evaluate.plan import EvaluationPlan, complete_plan, to_builtins
from tests.evaluate import sample

NAMES = ("monday", "tuesday")


def event(kind: EventKind, item: str, at_s: float = 1.0, play: int = 0) -> DetectionEvent:
    return DetectionEvent(kind, "alexa", item, "clean", play, at_s, 0.9, 0.9, 0.08)


def result(woke: str, *false: DetectionEvent, plan: dict[str, object] | None = None) -> Result:
    """A result of items a, b, c … whose word woke ("+") or not."""
    items = [chr(ord("a") + index) for index in range(len(woke))]
    word = msgspec.structs.replace(
        sample.word_result("earmark: alexa", 1.0, ("a",)),
        said="alexa",
        events=false,
        outcomes=tuple(
            WordOutcome(item=item, index=0, woke=sign == "+")
            for item, sign in zip(items, woke, strict=True)
        ),
        words_said=len(woke),
    )
    tables = to_builtins(complete_plan(EvaluationPlan(), "test")) | (plan or {})
    return msgspec.structs.replace(sample.result("a"), words=(word,), missing=(), plan=tables)


def changed(base: Result, **changes: object) -> Result:
    word: WordResult = msgspec.structs.replace(base.words[0], **changes)
    return msgspec.structs.replace(base, words=(word,))


def test_words_and_false_wakes_are_paired() -> None:
    first = result("++--+", event(EventKind.FALSE_WAKE, "x", 10), event(EventKind.FALSE_WAKE, "y"))
    second = result("+-+--", event(EventKind.FALSE_WAKE, "x", 11))

    (pair,), notes = compare_results(first, second, NAMES)

    assert (pair.first, pair.second) == ("monday: earmark: alexa", "tuesday: earmark: alexa")
    assert (pair.only_first_missed, pair.only_second_missed, pair.both_missed) == (1, 2, 1)
    assert (pair.only_first_false, pair.only_second_false, pair.both_false) == (1, 0, 1)
    assert notes == ()


def test_engines_of_other_names_are_compared_with_each_other() -> None:
    first, second = result("++"), changed(result("+-"), engine="openwakeword: alexa")

    (pair,), _ = compare_results(first, second, NAMES)

    assert pair.second == "tuesday: openwakeword: alexa"
    assert pair.only_second_missed == 1


def test_result_of_an_earlier_version_is_paired_by_its_events() -> None:
    events = (
        event(EventKind.HIT, "a"),
        event(EventKind.MISS, "b"),
        event(EventKind.MISS, "a", play=1),
    )
    old = changed(result("+-"), outcomes=(), events=events)

    (pair,), _ = compare_results(old, result("++"), NAMES)

    assert (pair.words_said, pair.only_first_missed) == (2, 1)
    two = changed(result("+-"), outcomes=(), events=(*events, event(EventKind.HIT, "a", 9)))
    with pytest.raises(UsageError, match="a has several words"):
        compare_results(two, result("++"), NAMES)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (
            msgspec.structs.replace(result("++"), hashes={"corpus": "ee" * 32}),
            "of different items: their corpus hashes are cdcdcdcdcdcd… and eeeeeeeeeeee…",
        ),
        (result("++", plan={"hit_tail_s": 1.0}), r"hit_tail_s\): 1.0 and not 0.5"),
        (result("++", plan={"channel": 1}), "another channel of the files"),
        (result("++", plan={"stream": True}), "was played in another way"),
        (changed(result("++"), said="timer"), "have no word and condition in common"),
        (changed(result("++"), condition="10 dB cafe"), "have no word and condition in common"),
        (changed(result("++"), hours=1.5), r"monday has 124 items, 1.940 h and 2 words of alexa"),
        (msgspec.structs.replace(result("++"), plan={"traces": []}), "tuesday is a survey"),
    ],
)
def test_what_does_not_pair_is_refused_with_its_reason(second: Result, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        compare_results(result("++"), second, NAMES)


def test_other_noise_and_other_code_are_noted() -> None:
    noisy: dict[str, object] = {
        "condition": [{"name": "10 dB cafe", "noise": "cafe", "room": None}]
    }
    first, second = result("++", plan=noisy), result("++", plan=noisy | {"seed": 9})
    second = msgspec.structs.replace(
        second, hashes=second.hashes | {"code": "00" * 32}, versions={"earmark": "0.3.0"}
    )

    _, notes = compare_results(first, second, NAMES)

    assert "the noise or the rooms of 10 dB cafe differ" in notes[0]
    assert "different code of Earmark (0.2.0 and 0.3.0)" in notes[1]


def test_stored_result_reads_back_equal() -> None:
    whole = sample.result("a.flac")

    assert read_result(msgspec.json.encode(whole), "x") == whole


def test_fields_of_this_version_are_optional() -> None:
    tables = msgspec.to_builtins(sample.result("a.flac"))
    del tables["speeds"]
    for word in tables["words"]:
        del word["costs"], word["outcomes"]

    assert read_result(msgspec.json.encode(tables), "x") == sample.result("a.flac")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "x is not the result of an evaluation"),
        (b"\xff{}", "x is not the result of an evaluation"),
        (b"[" * 100_000, "x is not the result of an evaluation"),
        (b'{"format": "earmark-evaluation/9"}', "has the format 'earmark-evaluation/9'"),
        (b'{"format": "earmark-evaluation/1", "words": 3}', "x cannot be read"),
    ],
)
def test_other_files_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_result(data, "x")
