"""The verb, as a process."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.storage.journal import read_lines
from listener.wakeword import trace

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def lines_of(path: Path) -> list[trace.Line]:
    return [trace.decode(line) for line in read_lines(path)]


pytestmark = pytest.mark.system

FAST = ("--fast", "--microphone")


def survey(home: Path, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Survey in a process of its own: what confines itself does so for good."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "listener", "survey", "--home", str(home)),
            *("--trace", str(path), *words),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_survey_records_the_wakes_of_hear(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.trace"

    done = survey(tmp_path, path, *FAST, str(FIXTURES / "alexa_twice.flac"), "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["wakes"] == 2
    opened, *heard = lines_of(path)
    assert isinstance(opened, trace.OpenedLine)
    assert opened.words["alexa"].threshold == 0.5
    wakes = [f for line in heard if isinstance(line, trace.HeardLine) for f in line.found]
    assert [found.kind for found in wakes if found.score >= 0.5] == ["wake", "wake"]


def test_survey_runs_on_a_machine_without_a_data_directory(tmp_path: Path) -> None:
    home = tmp_path / "share" / "earmark"

    done = survey(home, tmp_path / "a.trace", *FAST, str(FIXTURES / "talk.flac"))

    assert done.returncode == 0, done.stderr
    assert len(lines_of(tmp_path / "a.trace")) > 1
    assert not (home / "device.key").exists()


def test_fast_survey_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    terminal, process_side = pty.openpty()
    os.set_blocking(terminal, False)
    sounds = [*FAST, str(FIXTURES / "talk.flac"), "--microphone", str(FIXTURES / "near.flac")]

    done = subprocess.run(
        [
            *(sys.executable, "-m", "listener", "survey", "--home", str(tmp_path)),
            *("--trace", str(tmp_path / "a.trace"), *sounds, "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=process_side,
        text=True,
        check=False,
        timeout=60,
    )
    shown = os.read(terminal, 1 << 16).decode()
    os.close(process_side)
    os.close(terminal)

    assert done.returncode == 0, shown
    assert json.loads(done.stdout)["heard_s"] > 1
    assert re.search(r"earmark: +\d+% done", shown)
    assert shown.endswith(" \r")


def test_existing_trace_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"

    survey(tmp_path, path, *FAST, str(FIXTURES / "silence.flac"))

    done = survey(tmp_path, path, *FAST, str(FIXTURES / "silence.flac"))

    assert sum(isinstance(line, trace.OpenedLine) for line in lines_of(path)) == 2
    assert "no audio was stored" in done.stdout


def test_mute_is_a_gap_in_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"

    survey(tmp_path, path, *FAST, str(FIXTURES / "alexa_twice.flac"), "--mute", "0-2,3-4")

    gaps = [line for line in lines_of(path) if isinstance(line, trace.GapLine)]
    assert [gap.reason for gap in gaps] == ["muted", "muted"]


def test_the_trace_of_speech_is_the_same_as_that_of_noise_as_loud(tmp_path: Path) -> None:
    # Whatever is said, what is kept of it has no place for it: levels and scores, by the clock.
    rng = np.random.default_rng(7)
    talk, _ = soundfile.read(FIXTURES / "talk.flac", dtype="int16")
    talk = talk[: len(talk) // 1280 * 1280]
    noise = talk.copy()
    for at in range(0, len(noise), 32_000):
        rng.shuffle(noise[at : at + 32_000])
    levels = []
    for name, sound in (("talk", talk), ("noise", noise)):
        soundfile.write(tmp_path / f"{name}.wav", sound, 16_000)
        path = tmp_path / f"{name}.trace"
        # A floor above every score leaves levels, times and lengths.
        survey(tmp_path, path, *FAST, str(tmp_path / f"{name}.wav"), "--floor", "0.999")
        levels.append(
            [
                (line.levels_db, line.scores, line.found, line.first_sample, line.end_sample)
                for line in lines_of(path)
                if isinstance(line, trace.HeardLine)
            ]
        )

    assert levels[0] == levels[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 78, "mute.switch is not set"),
        (("--fast", "--device", "usb"), 2, "--fast needs recordings"),
        (("--device", "usb", "--microphone", "x"), 2, "exclude each other"),
        (("--floor", "0", *FAST, "x"), 2, "--floor 0"),
        ((*FAST, "/missing.flac"), 69, "there is no file"),
    ],
)
def test_invalid_arguments_are_usage_errors(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    path = tmp_path / "a.trace"

    done = survey(tmp_path, path, *words)

    assert done.returncode == code
    assert said in done.stderr
    assert not path.exists()


def test_damaged_recording_is_a_gap_and_is_reported(
    tmp_path: Path,
) -> None:
    whole = (FIXTURES / "talk.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    path = tmp_path / "a.trace"

    done = survey(
        tmp_path,
        path,
        *FAST,
        str(tmp_path / "cut.flac"),
        "--microphone",
        str(FIXTURES / "silence.flac"),
    )

    assert done.returncode == 1
    assert "audio was interrupted" in done.stderr
    reasons = [line.reason for line in lines_of(path) if isinstance(line, trace.GapLine)]
    assert reasons == ["lost", "start"]


def test_trace_is_valid_after_sigkill_and_continues(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    soundfile.write(tmp_path / "long.wav", np.zeros(16_000 * 900, np.int16), 16_000)
    command = [
        *(sys.executable, "-m", "listener", "survey", "--home", str(tmp_path)),
        *("--trace", str(path), "--fast", "--microphone", str(tmp_path / "long.wav")),
    ]
    process = subprocess.Popen(command)
    while not path.exists() or path.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)

    process.send_signal(signal.SIGKILL)
    process.wait()
    before = lines_of(path)
    subprocess.run([*command[:-1], str(FIXTURES / "silence.flac")], check=True)

    after = lines_of(path)
    assert len(before) >= 3
    assert after[: len(before)] == before
    assert isinstance(after[len(before)], trace.OpenedLine)


def test_sigterm_keeps_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    soundfile.write(tmp_path / "long.wav", np.zeros(16_000 * 60, np.int16), 16_000)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "listener", "survey", "--home", str(tmp_path)),
            *("--trace", str(path), "--microphone", str(tmp_path / "long.wav")),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    while not path.exists() or not path.read_bytes():
        assert process.poll() is None
        time.sleep(0.01)
    # Nothing tells how much it has heard; a busy machine hears little in half a second.
    time.sleep(3)

    process.terminate()
    said, _ = process.communicate(timeout=150)

    assert process.returncode == 0
    assert "no audio was stored" in said
    (heard,) = [line for line in lines_of(path) if isinstance(line, trace.HeardLine)]
    assert 0 < heard.end_sample < 16_000 * 60
