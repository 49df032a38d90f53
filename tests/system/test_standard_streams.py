"""Commands whose output is closed, full or in another encoding: an error, never a traceback."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.evaluate.spoken import FIXTURES

pytestmark = pytest.mark.system  # processes

COMMAND = shlex.join([sys.executable, "-m", "listener"])
ROOT = Path(__file__).resolve().parents[2]


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["/bin/sh", "-c", re.sub(r"(?<![\w/])earmark(?![\w/])", COMMAND, line)],  # no path
        capture_output=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "EARMARK_HOME": "home", **environment},
    )


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("earmark models list > /dev/full", 69, "standard output: No space left on device"),
        ("earmark models list --json > /dev/full", 69, "standard output: No space left"),
        ("earmark --help > /dev/full", 69, "standard output: No space left"),
        ("earmark models list >&-", 69, "standard output is closed"),
        ("earmark models list <&- >&-", 69, "standard output is closed"),
        ("earmark models list <&- >/dev/null", 0, ""),
        ("earmark models list 2>/dev/full >/dev/full", 69, ""),
        ("earmark nothing 2>/dev/full", 2, ""),
        ("earmark nothing 2>&-", 2, ""),
        ("earmark nothing <&- >&- 2>&-", 2, ""),
        ("(earmark models list; echo code $? >&2) | true", 0, "code 141"),
        ("mkdir away; cd away; rmdir ../away; earmark models list --home rel", 69, "was removed"),
        ("mkdir away; cd away; rmdir ../away; earmark models list", 69, "was removed"),
    ],
)
def test_unusable_stream_is_an_error(tmp_path: Path, line: str, code: int, error: str) -> None:
    done = shell(line, tmp_path)

    assert done.returncode == code
    assert error in done.stderr.decode()
    assert done.stderr.count(b"\n") <= 2
    assert b"Traceback" not in done.stderr
    assert not done.stdout


def test_long_output_to_a_full_disk_is_an_error(tmp_path: Path) -> None:
    done = shell(f"earmark score {FIXTURES}/*.flac --json > /dev/full", tmp_path)

    assert done.returncode == 69
    assert done.stderr.decode().splitlines() == [
        "earmark: error: cannot use standard output: No space left on device",
        "earmark: hint: free some space on that disk",
    ]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_encoding_lacks_are_escaped(tmp_path: Path, encoding: str) -> None:
    name = "Grüße-🎉-日本.flac"
    shutil.copy(FIXTURES / "near.flac", tmp_path / name)

    table = shell(f"earmark score '{name}'", tmp_path, PYTHONIOENCODING=encoding)
    lines = shell(f"earmark score --json '{name}'", tmp_path, PYTHONIOENCODING=encoding)

    assert table.returncode == lines.returncode == 0
    assert "\\ud83c\\udf89" in table.stdout.decode(encoding)
    assert {json.loads(line)["file"] for line in lines.stdout.decode(encoding).splitlines()} == {
        name
    }


def children(process: int) -> list[int]:
    """Return the processes below this one that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def workers(process: int) -> list[int]:
    return [
        child
        for child in children(process)
        if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize(
    ("number", "is_early"),
    [
        (signal.SIGINT, True),  # it reaches workers while they start
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (signal.SIGHUP, False),
        (signal.SIGKILL, False),
    ],
)
def test_signal_ends_the_workers_of_evaluate_without_a_traceback(
    tmp_path: Path, number: signal.Signals, *, is_early: bool
) -> None:
    pipe, end = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "listener", "evaluate", "--home", "home", "--jobs", "2"),
            *("--model", "alexa", "--negatives", str(FIXTURES), "--plays", "64"),
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=end,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    os.close(end)
    while len(workers(process.pid)) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    if not is_early:
        while not list(tmp_path.glob("evaluation/scores/*")):
            assert process.poll() is None
            time.sleep(0.01)

    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)

    # Its end is seen when each process of the group has closed the pipe: none holds it.
    with os.fdopen(pipe) as errors:
        text = errors.read()
    code = process.wait()
    assert code == (-number if number is signal.SIGKILL else 128 + number)
    assert "Traceback" not in text
