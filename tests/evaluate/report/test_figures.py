from dataclasses import replace

import msgspec

from listener.evaluate.rates.intervals import Rate
from listener.evaluate.report import figures
from tests.evaluate import sample

NO_RATE = Rate(0, 0, None, None, None, 0.95, "poisson", "per hour")
RATE = Rate(3, 100, 0.03, 0.0103, 0.0846, 0.95, "wilson", "per word")


def test_a_rate_of_nothing_says_so() -> None:
    assert figures.percent(NO_RATE) == "nothing to miss"
    assert figures.per_hour(NO_RATE) == "no hours"
    assert figures.format_rate(NO_RATE, 1, "").strip() == "none"


def test_a_rate_stands_with_its_interval() -> None:
    assert figures.percent(RATE) == "3.0 % (1.0 % to 8.5 %)"
    assert figures.per_hour(RATE) == "0.03 per hour (0.01 to 0.0846)"
    assert figures.format_rate(RATE, 100, " %") == "3 % (1.03 to 8.46)"
    assert figures.format_rate_html(RATE, 100, " %") == "<b>3 %</b> (1.03 to 8.46)"


def test_a_large_rate_has_no_exponent() -> None:
    many = replace(RATE, value=123_456.7, low=None)

    assert figures.format_rate(many, 1, " per hour").strip() == "123,457 per hour"


def test_facts_are_those_that_are_known() -> None:
    word = sample.word_result("earmark", 1, ("a.flac",))
    bare = msgspec.structs.replace(
        word,
        latency_s=(),
        activation_s=(),
        misses_by_speaker=None,
        false_wakes_by_recording=None,
    )

    assert figures.list_figures(bare) == [("near misses", "14")]
    assert dict(figures.list_figures(word)) == {
        "near misses": "14",
        "from the end of the word to the wake": "median 120 ms, 90 % 240 ms, 95 % 310 ms",
        "false wakes held the threshold for": "median 0.24 s, 90 % 0.48 s, longest 0.80 s",
        "misses, speakers resampled": "3 % (0 to 7.38)",
        "false wakes, recordings resampled": "1.03 per hour (0 to 4.04)",
    }
