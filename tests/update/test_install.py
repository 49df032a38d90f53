"""Real environments and real processes; of systemd there is a stand-in that notes restarts."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from listener.release.state import Phase, UpdateState
from listener.update.versions import Versions
from tests.update.speaker import Speaker, Update

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def status(update: Update) -> dict[str, object]:
    _, out, _ = update("status", "--json")
    told: dict[str, object] = json.loads(out)
    return told


def test_release_that_scores_stays(speaker: Speaker, update: Update) -> None:
    code, out, err = update("install", str(speaker.release("0.2.0")))

    assert (code, err) == (0, "")
    assert "it scores audio" in out
    assert speaker.current == "0.2.0"
    assert speaker.restarted() == ["0.2.0"]
    assert speaker.versions == {"0.1.0", "0.2.0"}
    told = status(update)
    assert (told["installed"], told["previous"], told["highest"]) == ("0.2.0", "0.1.0", "0.2.0")
    assert not (speaker.folder / "guard").is_symlink()
    assert not (speaker.folder / ".staged").exists()


@pytest.mark.parametrize("how", ["silent", "garbled"])
def test_release_that_does_not_score_is_rolled_back(
    how: str, speaker: Speaker, update: Update
) -> None:
    code, _, err = update("install", str(speaker.release("0.2.0", how)), "--wait", "1")

    assert code == 1
    assert "0.2.0 was rolled back: hear did not score within 1 s" in err
    assert speaker.current == "0.1.0"
    assert speaker.restarted() == ["0.2.0", "0.1.0"]
    assert speaker.versions == {"0.1.0"}
    told = status(update)
    assert told["latest"] == "0.2.0"
    assert told["in_progress"] is False
    assert told["highest"] is None, "a version that failed does not shut the way to others"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("broken", "does not run here"),
        ("deaf", "cannot score a recording"),
        ("another", "the program reports 9.9.9"),
    ],
)
def test_release_that_fails_before_the_switch_changes_nothing(
    how: str, why: str, speaker: Speaker, update: Update
) -> None:
    code, _, err = update("install", str(speaker.release("0.2.0", how)))

    assert code == 1
    assert why in err
    assert speaker.current == "0.1.0"
    assert speaker.restarted() == []
    assert speaker.versions == {"0.1.0"}
    assert not (speaker.folder / "guard").is_symlink()


def test_services_that_do_not_start_fail_the_trial(speaker: Speaker, update: Update) -> None:
    Path(f"{speaker.restarts}.fails").touch()

    code, _, err = update("install", str(speaker.release("0.2.0")))

    assert code == 1
    assert "the services did not restart" in err
    assert speaker.current == "0.1.0"
    assert speaker.restarted() == ["0.2.0", "0.1.0"]


def test_muted_speaker_passes_the_trial(speaker: Speaker, update: Update) -> None:
    code, out, _ = update("install", str(speaker.release("0.2.0", "muted")))

    assert code == 0
    assert "it runs, and is muted" in out


def test_only_the_recording_is_tried_if_hear_was_silent(speaker: Speaker, update: Update) -> None:
    update("install", str(speaker.release("0.2.0", "muted")))
    shutil.rmtree(speaker.folder / "0.2.0")
    (speaker.folder / "0.2.0" / "bin").mkdir(parents=True)

    script = speaker.folder / "0.2.0" / "bin" / "earmark"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    code, out, _ = update("install", str(speaker.release("0.3.0", "silent")))

    assert code == 0
    assert "only the recording was tried" in out


def test_two_updates_leave_two_versions_for_rollback(speaker: Speaker, update: Update) -> None:
    (speaker.folder / "0.0.9").mkdir()  # of the package, which removes it itself
    update("install", str(speaker.release("0.2.0")))
    update("install", str(speaker.release("0.3.0")))
    between = speaker.versions

    code, out, _ = update("rollback")

    assert between == {"0.0.9", "0.1.0", "0.2.0", "0.3.0"}, "0.1.0 is the package's"
    assert (code, speaker.current) == (0, "0.2.0")
    assert "0.2.0 is installed" in out
    assert status(update)["highest"] == "0.3.0"
    assert update("install", str(speaker.release("0.2.5")))[0] == 1, "older than what ran"
    assert update("rollback")[0] == 0
    assert speaker.current == "0.3.0"


def test_rollback_to_a_silent_version_is_undone(speaker: Speaker, update: Update) -> None:
    update("install", str(speaker.release("0.2.0")))
    (speaker.folder / "0.1.0" / "bin" / "earmark").write_text("#!/bin/sh\nexit 1\n")

    code, _, err = update("rollback", "--wait", "1")

    assert (code, speaker.current) == (1, "0.2.0")
    assert "0.1.0 was rolled back" in err


def test_rollback_without_a_version_is_an_error(speaker: Speaker, update: Update) -> None:
    code, _, err = update("rollback")

    assert (code, speaker.current) == (1, "0.1.0")
    assert "no version to go back to" in err


def test_downgrade_is_installed_with_the_option(speaker: Speaker, update: Update) -> None:
    release = speaker.release("0.0.8", least="0.0.1")

    code, _, _ = update("install", "--allow-downgrade", str(release))

    assert (code, speaker.current) == (0, "0.0.8")
    assert status(update)["highest"] == "0.1.0"


def test_updates_exclude_each_other(speaker: Speaker, update: Update) -> None:
    with Versions(speaker.folder).lock():
        code, _, err = update("install", str(speaker.release("0.2.0")))

    assert code == 1
    assert "another earmark update" in err


@pytest.mark.parametrize("phase", ["staging", "switching", "trial", "returning"])
def test_recovery_restores_the_previous_version(
    phase: Phase, speaker: Speaker, update: Update
) -> None:
    versions = Versions(speaker.folder)
    (speaker.folder / "0.2.0").mkdir()
    versions.write_guard("0.1.0")
    versions.write(UpdateState().begin("0.2.0", "0.1.0", "").advance(phase))
    if phase in {"trial", "returning"}:
        versions.switch_to("0.2.0")

    code, out, _ = update("recover", "--at-boot")

    assert code == 0
    assert "0.1.0" in out
    assert (speaker.current, speaker.versions) == ("0.1.0", {"0.1.0"})
    assert not (speaker.folder / "guard").is_symlink()
    assert speaker.restarted() == [], "nothing runs yet"
    assert update("recover")[1] == "no update was interrupted\n"


def test_next_update_ends_an_interrupted_one(speaker: Speaker, update: Update) -> None:
    versions = Versions(speaker.folder)
    versions.write(UpdateState().begin("0.2.0", "0.1.0", "").advance("trial"))

    code, out, _ = update("install", str(speaker.release("0.3.0")))

    assert code == 0
    assert "the last update was interrupted" in out
    assert speaker.restarted() == ["0.1.0", "0.3.0"]


def _installing(speaker: Speaker, release: Path, wait_s: str = "30") -> "subprocess.Popen[bytes]":
    words = ["update", "--config", str(speaker.settings), "install", str(release)]
    # A shell's background job ignores SIGINT, and so would all that it starts.
    heeds = ["env", "--default-signal=INT"]
    return subprocess.Popen(
        [*heeds, sys.executable, "-m", "listener", *words, "--wait", wait_s],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_closed_terminal_during_the_trial_rolls_back(
    number: signal.Signals, speaker: Speaker, update: Update
) -> None:
    process = _installing(speaker, speaker.release("0.2.0", "silent"), "60")
    assert process.stdout is not None
    for line in process.stdout:
        if b"is the current version" in line:
            break

    process.send_signal(number)
    process.communicate()

    assert process.returncode == 1
    assert speaker.current == "0.1.0"
    assert "interrupted" in json.dumps(status(update))


@pytest.mark.timeout(300)
def test_update_killed_at_any_moment_leaves_a_working_version(
    speaker: Speaker, update: Update
) -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    release = speaker.release("0.2.0")
    began_s = time.monotonic()
    process = _installing(speaker, release)
    process.communicate()
    whole_s = time.monotonic() - began_s
    assert process.returncode == 0
    assert update("rollback")[0] == 0
    ends = set()

    for turn in range(6):
        process = _installing(speaker, release)
        # The first time for certain before it is done, however fast the machine has become.
        time.sleep(dice.uniform(0.1, whole_s) if turn else 0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        # As at boot: the version that began is the one that ends it.
        guard = speaker.folder / "guard"
        if guard.is_symlink():
            assert guard.readlink().name == "0.1.0", seed
            # The link outlives the last write of the state by a moment: that update had passed.
            is_cut = Versions(speaker.folder).read().is_in_progress
            expected = "0.1.0" if is_cut else speaker.current
            code, out, _ = update("recover", "--at-boot")
            assert (code, speaker.current) == (0, expected), (seed, out)
            assert not guard.is_symlink(), seed
        noted = Versions(speaker.folder).read()
        assert not noted.is_in_progress, seed
        ends.add(speaker.current)
        assert (speaker.folder / speaker.current / ".complete").exists(), seed
        assert not (speaker.folder / ".staged").exists(), seed
        if speaker.current == "0.2.0":
            assert update("rollback")[0] == 0, seed

    code, _, _ = update("install", str(release))
    assert (code, speaker.current) == (0, "0.2.0"), seed
    assert "0.1.0" in ends, seed
