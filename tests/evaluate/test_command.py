"""The verb ``evaluate``: from its options to a folder of results."""

import json
from pathlib import Path

import pytest

from listener.cli import main
from tests.evaluate.spoken import FIXTURES, manifest

pytestmark = pytest.mark.system  # real models, whole runs


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARMARK_RECORDINGS", raising=False)
    return tmp_path


def evaluate(*words: str) -> int:
    return main(["evaluate", "--home", "nowhere", "--jobs", "1", *words])


def test_a_run_leaves_its_results_and_says_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = evaluate("--corpus", str(manifest(here)))

    said = capsys.readouterr().out
    assert code == 0
    assert "alexa, clean, threshold 0.5 (manifest)" in said
    assert "misses       0 of 5: 0 % (0 to 43.4)" in said
    assert "evaluation/report.html has the pictures" in said
    assert {path.name for path in (here / "evaluation").iterdir()} == {
        "result.json",
        "rates.csv",
        "curve.csv",
        "events.csv",
        "report.html",
        "scores",
    }


def test_programs_get_an_object_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = evaluate("--corpus", str(manifest(here)), "--json", "--out", "o", "--threshold", "0.9")

    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert (row["threshold"], row["threshold_from"]) == (0.9, "settings")


def test_folders_of_positives_and_negatives_need_no_manifest(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, name in (("said", "alexa"), ("other", "talk"), ("other", "quiet")):
        (here / folder).mkdir(exist_ok=True)
        (here / folder / f"{name}.flac").symlink_to(FIXTURES / f"{name}.flac")

    code = evaluate("--positives", "said", "--negatives", "other", "--json")

    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert (row["words_said"], row["items"]) == (1, 3)


def test_a_plan_says_it_all_and_options_come_before_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "plan.toml").write_text(
        f"""
        plays = 2
        [[engine]]
        thresholds = {{ alexa = 0.6 }}
        [[engine]]
        name = "patient"
        patience_frames = 2
        [[corpus]]
        path = "{manifest(here)}"
        """,
        "utf-8",
    )

    code = evaluate("--plan", "plan.toml", "--plays", "3", "--json")

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert [row.get("engine") for row in rows] == ["alexa", "patient", None]
    assert [row["plays"] for row in rows[:2]] == [3, 3]
    assert rows[2]["comparison"]["words_said"] == 5


def test_noise_is_played_beside_the_clean_sound(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = str(FIXTURES / "talk.flac")

    evaluate("--corpus", str(manifest(here)), "--noise", noise, "--snr-db", "5", "--json")

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["condition"] for row in rows] == ["clean", "5 dB talk.flac"]


def test_what_is_missing_and_what_cannot_be_claimed_end_with_1(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = manifest(here, {"path": "absent.wav"})

    assert evaluate("--corpus", str(listed)) == 1
    assert "missing: absent.wav: there is no file" in capsys.readouterr().out

    listed = manifest(here)
    assert evaluate("--corpus", str(listed), "--target-false-wakes-per-hour", "0.5") == 1
    assert "cannot carry a claim of fewer than 0.5" in capsys.readouterr().out
    assert evaluate("--corpus", str(listed), "--target-false-wakes-per-hour", "500") == 0


@pytest.mark.parametrize(
    ("words", "why", "code"),
    [
        ((), "there is nothing to play", 2),
        (("--corpus", "absent"), "there is no folder and no manifest absent", 2),
        (("--corpus", ".", "--threshold", "2"), "the options: ", 78),
        (("--corpus", ".", "--plays", "0"), "the options: ", 78),
        (("--plan", "absent.toml"), "cannot read the plan absent.toml", 2),
        (("--corpus", ".", "--snr-db", "3"), "--noise and --snr-db belong together", 2),
        (("--corpus", ".", "--model", "nobody"), "there is no model 'nobody'", 78),
        (
            ("--positives", ".", "--model", "alexa", "--model", "timer"),
            "--positives with several models does not say which word is said",
            2,
        ),
    ],
)
def test_what_cannot_be_is_said(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    why: str,
    code: int,
) -> None:
    (here / "sound.flac").symlink_to(FIXTURES / "quiet.flac")

    assert evaluate(*words) == code
    assert f"earmark: error: {why}" in capsys.readouterr().err


def test_the_recordings_of_the_environment_are_played_where_none_are_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "set").mkdir()
    (here / "set" / "talk.flac").symlink_to(FIXTURES / "talk.flac")
    monkeypatch.setenv("EARMARK_RECORDINGS", "set")

    assert evaluate("--json") == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["items"] == 1


def test_results_that_cannot_be_written_are_unavailable(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "taken").write_text("a file")

    assert evaluate("--corpus", str(manifest(here)), "--out", "taken", "--cache", "c") == 69
    assert "cannot write taken" in capsys.readouterr().err
