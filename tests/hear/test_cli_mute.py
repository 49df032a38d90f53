"""`earmark mute`: with real processes."""

import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from listener.cli.mute import (
    await_confirmation,
    format_duration,
    format_status,
    parse_duration_s,
    read_status,
)
from listener.config import MuteSettings
from listener.errors import UsageError
from listener.hear.mute.state import MuteFiles, MutePause, identify
from listener.ipc.control import ControlClient, ControlSocket, Wakeup
from listener.ipc.hear_locks import HearLockReader, HearLocks
from tests.spool.machine import FakeClock

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def earmark(*words: str, home: Path, config: str = "") -> "subprocess.CompletedProcess[str]":
    file = home / "earmark.toml"
    file.write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "listener", *words, "--home", str(home), "--config", str(file)],
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )


def status(home: Path, config: str = "") -> dict[str, object]:
    done = earmark("mute", "status", "--json", home=home, config=config)
    assert done.returncode == 0, done.stderr
    state: dict[str, object] = json.loads(done.stdout)
    return state


@pytest.mark.system
def test_software_mute_works_while_hear_does_not_run(home: Path) -> None:
    assert status(home)["cause"] == "open"

    done = earmark("mute", "on", home=home)
    assert done.returncode == 0
    assert done.stdout.startswith("muted\n")
    state = status(home)
    assert (state["cause"], state["software_by"], state["hear"]) == ("software", "command", False)

    done = earmark("mute", "off", home=home)
    assert done.stdout.startswith("not muted\n")
    assert status(home)["software"] is False


@pytest.mark.system
def test_a_fault_is_cleared_by_a_person(home: Path) -> None:
    MuteFiles(home).set_fault(NOW, "sound-while-muted")
    shown = earmark("mute", "status", home=home).stdout
    assert "the microphone delivered sound while the switch was at MUTE" in shown
    assert "earmark mute clear-fault" in shown
    assert earmark("mute", "off", home=home).stdout.startswith("muted\n")

    done = earmark("mute", "clear-fault", home=home)

    assert done.stdout.startswith("not muted\n")
    assert status(home)["fault"] is None


@pytest.mark.system
def test_changes_notify_hear_and_status_does_not(home: Path) -> None:
    requests = ControlSocket(home / "control.sock")
    state = HearLocks(home)
    state.apply(b"", b"")
    try:
        assert status(home)["hear"] is True
        assert list(requests.receive()) == []

        earmark("mute", "on", home=home)

        assert list(requests.receive()) == [Wakeup()]
    finally:
        requests.close()
        state.close()


@pytest.mark.system
def test_mute_is_not_reported_while_the_microphone_is_open(home: Path) -> None:
    """Hear hangs: it holds its locks, and acts on nothing."""
    state = HearLocks(home)
    microphone = state.lock_microphone()
    try:
        for action in ("on", "status"):
            done = earmark("mute", action, home=home)

            assert done.returncode == 69
            assert done.stdout.startswith("NOT MUTED: the microphone is open\n")
            assert "hear      runs, and does not answer" in done.stdout
            assert "the microphone is still open: hear does not answer" in done.stderr
            assert "use the mute switch" in done.stderr
    finally:
        os.close(microphone)
        state.close()


@pytest.mark.system
def test_unmute_is_not_reported_before_hear_acts_on_it(home: Path) -> None:
    earmark("mute", "on", home=home)
    state = HearLocks(home)
    state.apply(identify(MuteFiles(home).software.read()), b"")
    try:
        done = earmark("mute", "off", "--json", home=home)

        assert done.returncode == 69
        shown = json.loads(done.stdout)
        assert (shown["confirmed"], shown["microphone"]) == (False, "closed")
        assert "hear does not answer; the microphone is closed" in done.stderr

        state.apply(identify(MuteFiles(home).software.read()), b"")
        assert status(home)["confirmed"] is True
    finally:
        state.close()


def test_confirmation_is_waited_for(home: Path) -> None:
    """Hear acts on the state a while after it was written."""
    files, state, client = MuteFiles(home), HearLocks(home), ControlClient(home / "control.sock")
    files.mute(NOW, "command", muted=True)
    times_s = itertools.chain([0.0, 0.1, 0.2], itertools.repeat(9.0))

    def now_s() -> float:
        time_s = next(times_s)
        if time_s == 0.2:
            state.apply(identify(files.software.read()), b"")
        return time_s

    shown = await_confirmation(
        files, MuteSettings(switch="none"), HearLockReader(home), client, now_s
    )

    assert (shown.confirmed, shown.cause, shown.hear) == (True, "software", True)
    client.close()
    state.close()


@pytest.mark.system
def test_repeated_mute_writes_nothing(home: Path) -> None:
    earmark("mute", "on", home=home)
    before = (home / "mute.json").read_bytes()

    earmark("mute", "on", home=home)

    assert (home / "mute.json").read_bytes() == before


@pytest.mark.system
def test_damaged_state_file_counts_as_muted_until_cleared(home: Path) -> None:
    (home / "mute.json").write_bytes(b"torn")
    (home / "fault.json").write_bytes(b"torn")
    state = status(home)
    assert (state["cause"], state["software"]) == ("fault", None)

    earmark("mute", "clear-fault", home=home)
    assert status(home)["cause"] == "software"
    earmark("mute", "off", home=home)

    assert status(home)["cause"] == "open"


@pytest.mark.system
def test_unwritable_home_is_reported(home: Path) -> None:
    (home / "mute.json").mkdir()

    done = earmark("mute", "on", home=home)
    assert done.returncode == 0, "what cannot be read is muted already"
    done = earmark("mute", "off", home=home)

    assert done.returncode == 69
    assert done.stderr.startswith("earmark: error: cannot use")


@pytest.mark.parametrize(
    ("settings", "position", "cause"),
    [
        (MuteSettings(), "unset", "open"),
        (MuteSettings(switch="none"), "none", "open"),
        (MuteSettings(switch="input", input="/gone"), "unreadable", "hardware"),
        (MuteSettings(switch="gpio", chip="/gone", line=3), "unreadable", "hardware"),
    ],
)
def test_switch_is_read_while_hear_runs(
    home: Path, settings: MuteSettings, position: str, cause: str
) -> None:
    state = read_status(MuteFiles(home), settings, hear=False)

    assert (state.switch, state.cause) == (position, cause)


def test_line_in_use_by_hear_is_reported(home: Path) -> None:
    settings = MuteSettings(switch="gpio", chip="/gone", line=3)

    state = read_status(MuteFiles(home), settings, hear=True)

    assert state.switch == "held"
    assert "in use by hear" in "\n".join(format_status(state))


def test_status_says_how_to_unmute(home: Path) -> None:
    lasting = MuteFiles(home)
    lasting.mute(NOW, "message", muted=True)
    settings = MuteSettings(switch="input", input="/gone", remote_unmute=True)

    said = "\n".join(format_status(read_status(lasting, settings, hear=True)))

    assert "to unmute: move the switch" in said
    assert "earmark mute off, or by MQTT" in said
    assert "muted by a message, since 2026-03-04T00:00:00.000000+00:00" in said
    assert said.endswith("hear      runs")


@pytest.mark.system
def test_root_may_mute_and_hear_may_read_it(home: Path) -> None:
    earmark("mute", "on", home=home)

    assert (home / "mute.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h", 3600), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("24h", 86_400), ("1440m", 86_400)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "1", "0h", "25h", "24h1s", "1 h", "-1h", "1d", "1.5h", "30m1h", "٣h", "1h\n"]
)
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time from 1s through 24h"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (3541, "1 hour"),
        (3600, "1 hour"),
        (7260, "2 hours 1 minute"),
    ],
)
def test_durations_are_printed_rounded_up(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.system
def test_mute_for_a_time(home: Path) -> None:
    done = earmark("mute", "on", "--for", "1h", home=home)

    assert done.returncode == 0, done.stderr
    assert "; hear unmutes in 1 hour" in done.stdout
    state = status(home)
    assert (state["software"], state["software_interrupted"]) == (True, False)
    assert isinstance(state["software_left_s"], int)
    assert 3000 < state["software_left_s"] <= 3600
    before = (home / "mute.json").read_bytes()
    assert earmark("mute", "on", "--for", "10m", home=home).returncode == 0
    assert (home / "mute.json").read_bytes() == before, "the later end holds"
    earmark("mute", "on", "--for", "2h", home=home)
    assert (home / "mute.json").read_bytes() != before

    earmark("mute", "on", home=home)

    assert status(home)["software_left_s"] is None
    done = earmark("mute", "on", "--for", "1h", home=home)
    assert done.returncode == 2
    assert "muted already, without an end" in done.stderr


@pytest.mark.system
@pytest.mark.parametrize("action", ["off", "status", "clear-fault"])
def test_only_on_takes_a_time(home: Path, action: str) -> None:
    done = earmark("mute", action, "--for", "1h", home=home)

    assert done.returncode == 2
    assert not (home / "mute.json").exists()


@pytest.mark.system
def test_damaged_state_file_is_not_replaced_by_a_mute_for_a_time(home: Path) -> None:
    (home / "mute.json").write_bytes(b"torn")

    done = earmark("mute", "on", "--for", "1h", home=home)

    assert done.returncode == 2
    assert (home / "mute.json").read_bytes() == b"torn"


def test_status_of_an_interrupted_pause(home: Path) -> None:
    clock = FakeClock()
    clock.name = "1" * 36
    files = MuteFiles(home)
    files.mute_until(NOW, MutePause(boot=clock.name, until_s=clock.now_s + 60), clock)
    clock.name = "2" * 36

    state = read_status(files, MuteSettings(switch="none"), hear=True, clock=clock)

    assert (state.cause, state.software_left_s, state.software_interrupted) == (
        *("software", None, True),
    )
    assert "this computer restarted meanwhile" in "\n".join(format_status(state))
    end = MutePause(boot=clock.name, until_s=clock.now_s + 60)
    with pytest.raises(UsageError, match="without an end"):
        files.mute_until(NOW, end, clock)


def test_status_of_a_pause_that_is_over(home: Path) -> None:
    clock = FakeClock()
    clock.name = "1" * 36
    files = MuteFiles(home)
    files.mute_until(NOW, MutePause(boot=clock.name, until_s=clock.now_s + 60), clock)
    clock.now_s += 61

    state = read_status(files, MuteSettings(switch="none"), hear=False, clock=clock)

    assert (state.cause, state.software_left_s) == ("software", 0)
    assert "hear unmutes when it runs" in "\n".join(format_status(state))
