import json
import subprocess
import sys
from pathlib import Path

import pytest

from listener.cli import main
from listener.evaluate.surveys.parquet import read_parquet
from tests.evaluate.made_traces import rises, write_trace

TRACE_FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def evaluate_traces(home: Path, *words: str) -> int:
    return main(["evaluate", "--home", str(home), "--out", str(home / "out"), *words])


@pytest.mark.system
def test_from_a_survey_to_its_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = str(tmp_path / "a.trace")
    recording = str(TRACE_FIXTURES / "alexa_twice.flac")
    # A process of its own: what hears gives up the network for good.
    heard = [sys.executable, "-m", "listener", "survey", "--home", str(tmp_path), "--trace", trace]
    subprocess.run([*heard, "--fast", "--microphone", recording], check=True)

    code = evaluate_traces(tmp_path, "--trace", trace, "--json")

    found = json.loads(capsys.readouterr().out.splitlines()[0])
    assert code == 0
    assert (found["word"], found["false_wakes"]["count"]) == ("alexa", 2)
    assert found["misses"]["value"] is None
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"result.json", "report.html", "events.csv", "curve.csv", "rates.csv"} <= left


def test_the_same_traces_give_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trace(tmp_path / "a.trace", {"alexa": rises(5000, 1000, 3000)})
    made = []

    for _ in range(2):
        evaluate_traces(tmp_path, "--trace", str(tmp_path / "a.trace"))
        made.append(
            [(path.name, path.read_bytes()) for path in sorted((tmp_path / "out").iterdir())]
        )

    assert made[0] == made[1]
    assert "nothing was excluded" in capsys.readouterr().out


def test_stretches_stimuli_and_threshold_are_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trace(tmp_path / "a.trace", {"alexa": rises(5000, 1000, 3000), "timer": [0.0] * 5000})
    (tmp_path / "said.tsv").write_text("2026-03-04T20:01:00Z\t2026-03-04T20:02:00Z\tus\n")
    (tmp_path / "tv.tsv").write_text("2026-03-04T20:03:00Z\t2026-03-04T20:05:00Z\tnews\n")

    code = evaluate_traces(
        *(tmp_path, "--trace", str(tmp_path / "a.trace"), "--model", "alexa"),
        *("--exclude", str(tmp_path / "said.tsv"), "--stimuli", str(tmp_path / "tv.tsv")),
        *("--threshold", "0.7", "--parquet", str(tmp_path / "a.parquet"), "--json"),
    )

    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert code == 0
    assert found["threshold"] == 0.7
    assert found["false_wakes"]["count"] == 1
    assert found["hours"] == pytest.approx((400 - 60) / 3600)
    result = json.loads((tmp_path / "out" / "result.json").read_bytes())
    assert {name.split()[0] for name in result["hashes"]} >= {
        "trace",
        "exclude",
        "stimuli",
        "model",
    }
    names = {group["name"] for group in result["words"][0]["groups"]}
    assert names == {"device hall", "playing news", "nothing playing"}
    assert len(list(read_parquet(tmp_path / "a.parquet"))) > 5


def test_a_damaged_line_is_listed_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trace(tmp_path / "a.trace", {"alexa": [0.0] * 100})
    with (tmp_path / "a.trace").open("ab") as file:
        file.write(b"nothing\n")

    assert evaluate_traces(tmp_path, "--trace", str(tmp_path / "a.trace")) == 1
    assert "missing: a.trace, line 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--negatives", "x"), "--negatives has no sense with it"),
        (("--threshold", "0.001"), "below the floor"),
        (("--model", "weather", "--threshold", "0.5"), "no trace has scores of weather"),
        (("--exclude", "missing.tsv"), "cannot read missing.tsv"),
    ],
)
def test_what_makes_no_sense_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    write_trace(tmp_path / "a.trace", {"alexa": [0.0] * 100})

    assert evaluate_traces(tmp_path, "--trace", str(tmp_path / "a.trace"), *words) == 2
    assert said in capsys.readouterr().err
