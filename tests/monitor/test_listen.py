"""``earmark monitor --listen`` on a machine without a key, an owner or a home."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from listener.cli import main

ROOT = Path(__file__).resolve().parents[2]
ALEXA = ROOT / "tests" / "fixtures" / "alexa.flac"
QUIET = ROOT / "tests" / "fixtures" / "quiet.flac"


def listen(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "listener", "monitor", "--listen", "--home", str(home)),
            *words,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.system
def test_fresh_machine_shows_a_wake_and_stores_nothing(tmp_path: Path) -> None:
    home = tmp_path / "fresh"

    done = listen(home, "--microphone", str(ALEXA), "--fast", "--json")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [row["word"] for row in events if row["event"] == "wake"] == ["alexa"]
    assert events[-1] == {"event": "end", "wakes": 1}
    assert {path.name for path in home.iterdir()} <= {"hear.lock", "control.sock"}


@pytest.mark.system
def test_recording_without_a_wake_exits_with_1(tmp_path: Path) -> None:
    done = listen(tmp_path / "fresh", "--microphone", str(QUIET), "--fast")

    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("listening for alexa; nothing is stored or sent\n")
    assert done.stdout.endswith("0 wakes\n")


@pytest.mark.parametrize(
    "words",
    [
        ("--listen", "--once"),
        ("--microphone", "a.flac"),
        ("--device", "USB"),
        ("--word", "alexa"),
        ("--fast",),
        ("--no-switch",),
        ("--listen", "--fast"),
    ],
)
def test_options_that_contradict_are_refused(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["monitor", *words, "--home", str(tmp_path / "home")]) == 2
    assert capsys.readouterr().out == ""
