"""What is said at the end of a run."""

import json

import msgspec

from listener.evaluate.rates.intervals import poisson, wilson
from listener.evaluate.rates.result import Target
from listener.evaluate.report.summary import summary_lines, summary_objects
from tests.evaluate.sample import COMPARISON, result


def test_people_get_a_paragraph_for_each_word() -> None:
    found = msgspec.structs.replace(result("a.wav"), comparisons=(COMPARISON,))

    text = "\n".join(summary_lines(found))

    assert "earmark: alexa, clean, threshold 0.5 (manifest)" in text
    assert "misses       3 of 100: 3 % (" in text
    assert "per hour (" in text
    assert "by recording" in text
    assert "per 10,000 words" in text
    assert "fewer than 10 per hour: these hours carry it" in text
    assert "fewer than 0.5 per hour: not carried; 13.2 h more without a false wake would" in text
    assert "fewer than 0.1 per hour: these sounds speak against it" in text
    assert "by the second alone 9, by both 1 of 100: p = 0.0654" in text
    assert "of the second alone 6, of both 3: p = 0.0312" in text
    assert "missing: a.wav: it is damaged" in text
    assert "note: 1.94 hours" in text


def test_a_target_is_shown_with_its_interval_and_what_is_unknown_is_said() -> None:
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
    assert "threshold for 0.5 per hour: 0.8, from 0.6 to none that these hours can name" in text
    assert text.count("nothing is known") == 2


def test_programs_get_an_object_a_line() -> None:
    found = msgspec.structs.replace(result("a.wav"), comparisons=(COMPARISON,))

    rows = [json.loads(line) for line in summary_objects(found)]

    assert [row.get("engine") for row in rows] == ["earmark", "openwakeword", None, None]
    assert rows[0]["misses"]["count"] == 3
    assert "events" not in rows[0]
    assert rows[2]["comparison"]["words_said"] == 100
    assert rows[3]["missing"] == {"item": "a.wav", "why": "it is damaged"}
