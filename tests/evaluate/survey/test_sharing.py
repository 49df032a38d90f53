"""Surveys of several homes are joined into one rate."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.cli.main import main
from listener.errors import ConfigError
from listener.evaluate.metrics import intervals
from listener.evaluate.survey.sharing import (
    HomeCount,
    SharedSurvey,
    SharedWord,
    decode_shared,
    join,
)
from tests.evaluate.made_traces import rises, write_trace


def survey_home(folder: Path, name: str, wakes: int, frames: int, sha256: str = "ab" * 32) -> Path:
    """Evaluate the trace of a home with so many wakes; return the folder of its result."""
    places = [1000 + 500 * index for index in range(wakes)]
    trace, out = folder / f"{name}.trace", folder / name
    write_trace(trace, {"alexa": rises(frames, *places)}, device=name, sha256=sha256)
    assert main(["evaluate", "--trace", str(trace), "--out", str(out)]) == 0
    return out


def count(home: int, hours: float = 1.0, false_wakes: int = 1) -> HomeCount:
    return HomeCount(home=f"{home:016x}", hours=hours, false_wakes=false_wakes)


def word(*homes: HomeCount, model: str = "ab" * 32, threshold: float = 0.5) -> SharedWord:
    return SharedWord(word="alexa", model=model, threshold=threshold, homes=homes)


def test_homes_are_joined_into_one_rate_with_its_exact_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = [
        survey_home(tmp_path, "hall", 2, 9_000),
        survey_home(tmp_path, "den", 0, 45_000),
        survey_home(tmp_path, "loft", 1, 18_000),
    ]
    capsys.readouterr()

    assert main(["evaluate", "merge", *map(str, homes), "--json"]) == 0

    (shown,) = map(json.loads, capsys.readouterr().out.splitlines())
    hours = 72_000 * 0.08 / 3600
    expected = intervals.poisson(3, hours)
    rate = shown["false_wakes"]
    assert (shown["homes"], rate["count"]) == (3, 3)
    assert rate["exposure"] == pytest.approx(hours, abs=1e-3)
    assert rate["low"] == pytest.approx(expected.low, rel=1e-3)
    assert rate["high"] == pytest.approx(expected.high, rel=1e-3)
    assert main(["evaluate", "merge", *map(str, homes)]) == 0
    assert "alexa at 0.5 (model abababababab): 3 homes, 1.6 h, 3 false wakes" in (
        capsys.readouterr().out
    )


def test_shared_file_has_no_time_name_or_score(tmp_path: Path) -> None:
    home = survey_home(tmp_path, "bedroom", 2, 9_000)
    shared = tmp_path / "shared.json"

    assert main(["evaluate", "merge", str(home), "--out", str(shared)]) == 0

    text = shared.read_text("utf-8")
    assert "bedroom" in (home / "result.json").read_text("utf-8")
    assert not any(part in text for part in ("bedroom", "2026", "trace", ":0", "score"))
    (only,) = decode_shared(text.encode(), "shared").words
    assert only.homes[0].false_wakes == 2
    assert len(only.homes[0].home) == 16


def test_shared_files_of_homes_join_as_their_results_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = [survey_home(tmp_path, name, 1, 9_000 * (at + 1)) for at, name in enumerate("abc")]
    files = []
    for home in homes:
        files.append(str(home / "shared.json"))
        assert main(["evaluate", "merge", str(home), "--out", files[-1]]) == 0
    capsys.readouterr()

    assert main(["evaluate", "merge", *map(str, homes), "--json"]) == 0
    from_results = capsys.readouterr().out
    assert main(["evaluate", "merge", *files, "--json"]) == 0

    assert capsys.readouterr().out == from_results


def test_a_home_that_is_named_twice_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(survey_home(tmp_path, "hall", 2, 9_000))
    capsys.readouterr()

    assert main(["evaluate", "merge", home, home]) == 0

    out = capsys.readouterr().out
    assert "1 home, 0.2 h, 2 false wakes" in out
    assert "is counted once for alexa" in out


def test_other_models_and_thresholds_are_other_rates() -> None:
    joined, notes = join(
        [
            SharedSurvey(words=(word(count(1)), word(count(1), threshold=0.6))),
            SharedSurvey(words=(word(count(2)), word(count(2), model="cd" * 32))),
        ]
    )

    assert [(each.model[:2], each.threshold, len(each.homes)) for each in joined.words] == [
        ("ab", 0.5, 2),
        ("ab", 0.6, 1),
        ("cd", 0.5, 1),
    ]
    assert not notes


def test_two_counts_of_one_home_are_reported() -> None:
    joined, (note,) = join([SharedSurvey(words=(word(count(1)), word(count(1, 2.0))))])

    assert joined.words[0].homes == (count(1),)
    assert "two different counts of alexa; the first is counted" in note


def test_homes_that_differ_widen_the_interval_from_home_to_home() -> None:
    alike = word(*(count(home, 10.0, 5) for home in range(8)))
    unlike = word(*(count(home, 10.0, 40 if home == 0 else 0) for home in range(8)))

    wide, narrow = unlike.between_homes(), alike.between_homes()

    assert unlike.false_wakes == alike.false_wakes
    assert wide is not None
    assert wide.high is not None
    assert unlike.false_wakes.high is not None
    assert wide.high > 1.5 * unlike.false_wakes.high
    assert narrow is not None
    assert narrow.high == pytest.approx(0.5)
    assert word(count(1)).between_homes() is None


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", 78, "is not the result of an evaluation"),
        ('{"format":"earmark-shared-survey/1"}', 78, "is not a shared survey"),
        ('{"format":"earmark-shared-survey/1","words":[{"word":"a"}]}', 78, "not a shared survey"),
        ('{"format":"other/9"}', 78, "has the format 'other/9'"),
    ],
)
def test_file_that_is_no_survey_is_refused(
    text: str, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "home.json"
    file.write_text(text, "utf-8")

    assert main(["evaluate", "merge", str(file), "--out", str(tmp_path / "out")]) == code

    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_absent_file_and_result_of_recordings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = survey_home(tmp_path, "hall", 1, 9_000)
    result = json.loads((home / "result.json").read_text("utf-8"))
    result["hashes"] = {"corpus": "00"}
    (tmp_path / "recordings.json").write_text(json.dumps(result), "utf-8")

    assert main(["evaluate", "merge", str(tmp_path / "absent.json")]) == 2
    assert "cannot read" in capsys.readouterr().err
    assert main(["evaluate", "merge", str(tmp_path / "recordings.json")]) == 2
    assert "is not the result of a survey" in capsys.readouterr().err


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_raise_only_the_one_error(data: bytes) -> None:
    try:
        decode_shared(data, "shared")
    except ConfigError:
        return


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 100), st.integers(0, 9)), max_size=9))
def test_order_of_homes_changes_no_rate(homes: list[tuple[int, float, int]]) -> None:
    surveys = [SharedSurvey(words=(word(count(*home)),)) for home in homes]
    once = {home[0]: home for home in reversed(homes)}.values()

    joined, _ = join(surveys)
    again, _ = join(SharedSurvey(words=(word(count(*home)),)) for home in sorted(once))

    assert joined == again
