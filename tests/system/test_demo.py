"""`earmark demo` as a process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import soundfile

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def demo(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "listener", "demo", "--fast", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_demo_passes_every_check(tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    done = demo("--keep", "kept", folder=tmp_path)

    lines = done.stdout.splitlines()
    clips = sorted((tmp_path / "demo-clips").glob("*.flac"))
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert 12 <= len(lines) <= 17
    assert max(map(len, lines)) <= 80
    assert done.stdout.isascii()
    assert len(clips) == 2
    assert all(str(clip.relative_to(tmp_path)) in done.stdout for clip in clips)
    assert all(1 < soundfile.info(clip).duration < 12 for clip in clips)
    assert "broker   carried 2 encrypted clips" in done.stdout
    assert "cannot decrypt one: this clip is sealed to another key" in done.stdout
    assert "refused, the device's signature is not valid" in done.stdout
    assert not list((kept / "speaker" / "spool").glob("*.earmark"))
    assert all((kept / who / f"{who}.key").stat().st_mode & 0o077 == 0 for who in ("ada", "bo"))


def test_existing_folder_is_refused(tmp_path: Path) -> None:
    done = demo("--keep", str(tmp_path), folder=tmp_path)

    assert done.returncode == 2
    assert "exists already" in done.stderr


def test_folder_for_clips_is_checked_before_the_demo_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    done = demo("--to", "file/clips", folder=tmp_path)

    assert done.returncode == 69
    assert "choose another folder with --to" in done.stderr
    assert not done.stdout


def test_missing_broker_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "amqtt.py").write_text("raise ModuleNotFoundError('no amqtt', name='amqtt')\n")

    # Python looks into the current folder first.
    done = demo(folder=tmp_path)

    assert done.returncode == 78
    assert "demo needs the package amqtt" in done.stderr


def hears(process: int) -> bool:
    for one in psutil.Process(process).children():
        with contextlib.suppress(psutil.Error):  # it has ended since
            if "hear" in one.cmdline():
                return True
    return False


def test_sigterm_leaves_no_process_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "listener", "demo"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as process:
        until_s = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < until_s and not hears(process.pid):
            time.sleep(0.05)
        children = psutil.Process(process.pid).children()

        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert len(children) == 3
    assert not any(child.is_running() for child in children)
    assert not list(scratch.iterdir())
