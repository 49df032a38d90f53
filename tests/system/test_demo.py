"""`earmark demo` as a process."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import soundfile

from benchmarks.readme import MODEL_HOME, has_model
from listener.cli import demo_command
from listener.cli.demo_command import CommandStage
from listener.demo.broker import run_broker
from listener.demo.checks import ClaimChecks
from listener.demo.households import DemoHouseholds
from listener.demo.output import Transcript
from listener.envelope import keys
from listener.envelope.verify import verify_device
from listener.errors import EarmarkError
from listener.owner_key.key_card import parse_card
from tests.assist import fake_wyoming
from tests.assist.fake_wyoming import FakeWyoming
from tests.browse.tabs import RunningCommand

if TYPE_CHECKING:
    from tests.conftest import DemoRun

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


@pytest.mark.timeout(600)
def test_demo_passes_every_check(demo_run: "DemoRun") -> None:
    done, folder = demo_run.done, demo_run.folder
    kept = folder / "kept"

    lines = done.stdout.splitlines()
    clips = sorted((folder / "demo-clips").glob("*.flac"))
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert 25 <= len(lines) <= 30
    assert lines[-1] == "browser  to see ada's clips in a browser: earmark demo --browse"
    assert lines[-4:-2] == [
        "lamp     this part was left out: the speech model is not installed",
        "         hint: run earmark assist models",
    ]
    assert max(map(len, lines)) <= 80
    assert done.stdout.isascii()
    assert len(clips) == 2
    assert all(str(clip.relative_to(folder)) in done.stdout for clip in clips)
    assert all(1 < soundfile.info(clip).duration < 12 for clip in clips)
    assert "broker   carried 2 encrypted clips" in done.stdout
    assert "cannot decrypt one: this clip is sealed to another key" in done.stdout
    assert "refused, the device's signature is not valid" in done.stdout
    assert "bo       decrypts the clip of this voice, and not the other" in lines
    assert "guest    has no clip, and nothing is kept of this voice but a count" in lines
    assert len(list((kept / "hall" / "spool").glob("*.earmark"))) == 2
    assert not list((kept / "speaker" / "spool").glob("*.earmark"))
    assert all((kept / who / f"{who}.key").stat().st_mode & 0o077 == 0 for who in ("ada", "bo"))

    card = folder / "demo-clips" / "household" / "ada.key"
    browse = RunningCommand("demo", "--browse", "--no-open", folder=folder)
    first, key = browse.next_line(), parse_card(card.read_bytes(), "ada.key")
    tab = browse.next_tab().open()
    listed = tab.request(str(key.identities[0].secret), "list").json()["clips"]
    played = [
        tab.request(str(key.identities[0].secret), "play", clip=one["clip"]) for one in listed
    ]
    assert first == f"the key that the page asks for: {card}\n"
    assert b"<!doctype html>" in tab.get("/").data.lower()
    assert {one["clip"] for one in listed} >= {clip.stem for clip in clips}
    assert {one["device"] for one in listed} <= {one.name for one in key.speakers}
    signers = {one.name: keys.parse_device(one.key) for one in key.speakers}
    assert all(verify_device(reply.data, signers).header.owner == "ada" for reply in played)
    assert browse.end() == (0, "")


def test_browse_without_a_demonstration_says_so(tmp_path: Path) -> None:
    done = demo("--browse", folder=tmp_path)

    assert done.returncode == 2
    assert "is not the folder of a demonstration" in done.stderr


@pytest.mark.skipif(
    not has_model(), reason="the spoken command needs the speech model: run make demo once"
)
def test_spoken_command_switches_the_lamp_by_packages_alone(tmp_path: Path) -> None:
    done = demo("--home", str(MODEL_HOME), folder=tmp_path)

    assert done.returncode == 0, done.stderr + done.stdout
    lines = done.stdout.splitlines()
    (lamp,) = [line for line in lines if line.startswith("lamp ")]
    assert re.fullmatch(r"lamp     on, \d+\.\d s after the end of the command", lamp)
    assert "left out" not in done.stdout
    assert max(map(len, lines)) <= 80


def make_stage(root: Path, port: int, recogniser: FakeWyoming) -> CommandStage:
    """A household whose assist has the demo's agent, and a fake for the speech model."""
    homes = DemoHouseholds(root)
    homes.prepare(port)
    key = homes.prepare_command(port, root / "no-model")
    settings = homes.settings(homes.assist)
    text = settings.read_text("utf-8").replace(
        'recogniser = "built-in"', f'recogniser = "wyoming"\nwyoming_port = {recogniser.port}'
    )
    settings.write_text(text, "utf-8")
    return CommandStage(homes, Transcript(is_terminal=False), ClaimChecks(), port, key)


def test_command_scene_holds_every_claim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_wyoming.running(FakeWyoming()) as recogniser, run_broker() as port:
        recogniser.answer = [
            {"type": "transcript", "data": {"text": "Hey lumen, turn on the kitchen light."}}
        ]
        stage = make_stage(tmp_path / "h", port, recogniser)
        with demo_command.running_assist(stage.homes):
            demo_command.show_command(stage)

    stage.checked.raise_on_failure()
    printed = capsys.readouterr().out
    assert re.search(
        r"^lamp     on, \d+\.\d s after the end of the command$", printed, re.MULTILINE
    )
    assert "bo       allowed nothing: the bedroom speaker woke too, and made no copy" in printed


def test_lamp_that_stays_off_fails_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_command, "TRIES", 1)
    with fake_wyoming.running(FakeWyoming()) as recogniser, run_broker() as port:
        recogniser.answer = [
            {"type": "transcript", "data": {"text": "Hey lumen, nothing of the kind."}}
        ]
        stage = make_stage(tmp_path / "h", port, recogniser)
        with demo_command.running_assist(stage.homes):
            demo_command.show_command(stage)

    with pytest.raises(EarmarkError, match="the command turned the lamp on"):
        stage.checked.raise_on_failure()


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
        [sys.executable, "-m", "listener", "demo", "--home", str(tmp_path / "empty")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as process:
        until_s = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < until_s and not hears(process.pid):
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)

        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert len(children) >= 3  # more while the voices are enrolled
    assert not any(child.is_running() for child in children)
    assert not list(scratch.iterdir())
