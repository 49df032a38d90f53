"""Tests of the mute controller: hardware, software and fault combined."""

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from listener.errors import Unavailable
from listener.hear.mute.controller import WRITE_PAUSE_S, MuteController
from listener.hear.mute.state import MuteFiles, MutePause, identify
from listener.hear.mute.switch import NoSwitch
from listener.ipc.control import ControlClient, ControlSocket, MuteRequest, UnmuteRequest, Wakeup
from tests.spool.machine import FakeClock


class Lever:
    """A switch moved by the test; its line can fail."""

    about = "lever"

    def __init__(self) -> None:
        self.is_thrown = False
        self.was_thrown = False
        self.is_broken = False

    def is_muted(self, at_sample: int) -> bool:
        del at_sample
        if self.is_broken:
            raise Unavailable("the line is gone")
        was, self.was_thrown = self.was_thrown, self.is_thrown
        return was or self.is_thrown

    def filenos(self) -> Sequence[int]:
        return (7,)

    def throw(self, *, muted: bool) -> None:
        self.is_thrown = muted
        self.was_thrown |= muted


class Bench:
    """A controller with real files and a real control socket, and a fake clock and switch."""

    def __init__(self, home: Path, *, remote_unmute: bool = False) -> None:
        self.home = home
        self.remote_unmute = remote_unmute
        self.now_s = 100.0
        self.clock = FakeClock()
        self.lever = Lever()
        self.command_files = MuteFiles(home)
        self.client = ControlClient(home / "control.sock")
        self.announced: list[tuple[bytes, bytes]] = []
        self.start()

    def start(self) -> None:
        self.requests = ControlSocket(self.home / "control.sock")
        self.mute = MuteController(
            self.lever,
            MuteFiles(self.home),
            self.requests,
            remote_unmute=self.remote_unmute,
            now=self.now,
            monotonic_s=lambda: self.now_s,
            boot_clock=self.clock,
            announce=lambda *records: self.announced.append(records),
        )

    def restart(self) -> None:
        self.requests.close()
        self.start()

    def now(self) -> datetime:
        return datetime(2026, 3, 4, tzinfo=UTC) + timedelta(seconds=self.now_s)

    def command(self, *, muted: bool) -> None:
        """Write the mute as `earmark mute on` and `off` do."""
        self.now_s += 0.000_01
        self.command_files.mute(self.now(), "command", muted=muted)

    def poll(self) -> bool:
        """Poll once, as the gate does at each block."""
        self.now_s += 0.08
        return self.mute.is_muted(0)

    def cause(self) -> str:
        """Return the cause of the last poll."""
        return self.mute.cause

    def settle(self) -> bool:
        """Poll until earlier moments no longer count and every pause is over."""
        for _ in range(40):
            self.poll()
        return self.poll()

    def close(self) -> None:
        self.requests.close()
        self.client.close()


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    bench = Bench(home)
    yield bench
    bench.close()


@pytest.fixture
def remote(home: Path) -> Iterator[Bench]:
    bench = Bench(home, remote_unmute=True)
    yield bench
    bench.close()


def test_new_installation_is_not_muted(bench: Bench) -> None:
    assert bench.cause() == "hardware", "before the first poll"
    assert not bench.poll()
    assert bench.cause() == "open"
    assert bench.mute.about == "lever"


def test_cause_is_never_hardware_without_a_switch(bench: Bench) -> None:
    mute = MuteController(
        NoSwitch(),
        MuteFiles(bench.home),
        bench.requests,
        remote_unmute=False,
        now=bench.now,
        monotonic_s=lambda: bench.now_s,
        boot_clock=bench.clock,
    )
    causes = [mute.cause]

    for muted in (True, False):
        bench.command(muted=muted)
        mute.is_muted(0)
        causes.append(mute.cause)
        mute.is_muted(0)
        causes.append(mute.cause)

    assert causes == ["software", "software", "software", "software", "open"]


def test_filenos_include_the_switch_and_the_control_socket(bench: Bench) -> None:
    assert bench.mute.filenos() == (7, bench.requests.fileno())


def test_releasing_the_switch_does_not_clear_a_software_mute(bench: Bench) -> None:
    bench.command(muted=True)
    bench.lever.throw(muted=True)
    assert bench.poll()
    assert bench.cause() == "hardware"

    bench.lever.throw(muted=False)

    assert bench.settle()
    assert bench.cause() == "software"


def test_software_unmute_does_not_override_the_switch(remote: Bench) -> None:
    remote.lever.throw(muted=True)
    remote.command(muted=False)
    remote.client.send(UnmuteRequest())

    assert remote.settle()
    assert remote.cause() == "hardware"


def test_command_mutes_and_unmutes(bench: Bench) -> None:
    bench.poll()

    bench.command(muted=True)
    assert bench.poll()
    assert bench.cause() == "software"
    bench.command(muted=False)

    assert bench.poll(), "it was muted since the last poll"
    assert not bench.poll()


def test_mute_and_unmute_between_polls_mutes_one_block(bench: Bench) -> None:
    bench.poll()

    bench.command(muted=True)
    bench.command(muted=False)

    assert bench.poll()
    assert not bench.poll()


def test_mute_request_acts_at_once_and_survives_a_restart(bench: Bench) -> None:
    bench.poll()
    bench.client.send(MuteRequest())

    assert bench.poll()
    assert not (bench.home / "mute.json").exists(), (
        "the microphone is closed before the disk is written"
    )
    assert bench.poll()

    written = json.loads((bench.home / "mute.json").read_text())
    assert (written["muted"], written["by"]) == (True, "message")
    bench.restart()
    assert bench.poll()
    assert bench.cause() == "software"


def test_unmute_request_is_ignored_by_default(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.command(muted=True)
    bench.poll()

    for _ in range(3):
        bench.client.send(UnmuteRequest())

    assert bench.settle()
    assert bench.mute.ignored == 3
    assert [record.message for record in caplog.records] == [
        "an unmute request was ignored: mute.remote_unmute is false"
    ]


def test_unmute_request_is_accepted_with_remote_unmute(remote: Bench) -> None:
    remote.command(muted=True)
    remote.poll()

    remote.client.send(UnmuteRequest())

    assert not remote.settle()
    remote.restart()
    assert not remote.poll()


def test_mute_and_unmute_requests_in_one_block_mute_it(remote: Bench) -> None:
    remote.poll()

    remote.client.send(MuteRequest())
    remote.client.send(UnmuteRequest())

    assert remote.poll()
    assert remote.cause() == "software"
    assert not remote.poll()


def test_unmute_while_open_does_not_clear_a_later_mute(remote: Bench) -> None:
    remote.poll()
    remote.client.send(UnmuteRequest())
    remote.poll()

    remote.command(muted=True)

    assert remote.settle()


def test_unread_unmute_does_not_clear_a_later_command(remote: Bench) -> None:
    remote.poll()
    remote.client.send(UnmuteRequest())

    remote.command(muted=True)

    assert remote.settle()


def test_unsaved_unmute_does_not_clear_a_later_command(remote: Bench) -> None:
    remote.command(muted=True)
    remote.poll()
    remote.client.send(MuteRequest())
    remote.poll()
    remote.poll()  # a write, so that the next one is delayed
    remote.client.send(UnmuteRequest())
    remote.poll()

    remote.command(muted=True)

    assert remote.settle()


def test_command_overrides_an_unsaved_mute_request(bench: Bench) -> None:
    bench.poll()
    (bench.home / ".mute.json.part").mkdir()
    bench.client.send(MuteRequest())
    assert bench.settle()
    (bench.home / ".mute.json.part").rmdir()

    bench.command(muted=False)

    assert not bench.settle()


def test_unmute_right_after_the_mute_was_saved_is_applied(remote: Bench) -> None:
    remote.poll()
    remote.client.send(MuteRequest())
    remote.poll()
    remote.client.send(UnmuteRequest())

    assert not remote.settle()


def test_disk_writes_by_requests_are_rate_limited(remote: Bench) -> None:
    remote.poll()
    written = set()

    for _ in range(100):
        remote.client.send(MuteRequest())
        remote.poll()
        remote.client.send(UnmuteRequest())
        remote.poll()
        if (remote.home / "mute.json").exists():
            written.add((remote.home / "mute.json").read_text())

    seconds = 200 * 0.08
    assert len(written) <= seconds / WRITE_PAUSE_S + 1


def test_wakeup_request_does_not_change_the_state(bench: Bench) -> None:
    bench.poll()
    bench.client.send(Wakeup())

    assert not bench.poll()


def test_failed_write_stays_muted_and_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.poll()
    (bench.home / ".mute.json.part").mkdir()
    bench.client.send(MuteRequest())

    assert bench.settle()

    assert not (bench.home / "mute.json").exists()
    assert len(caplog.records) == 1
    assert "cannot save the mute state" in caplog.records[0].message
    (bench.home / ".mute.json.part").rmdir()
    bench.settle()
    assert (bench.home / "mute.json").exists()


@pytest.mark.parametrize("name", ["mute.json", "fault.json"])
def test_damaged_file_mutes_and_is_logged_once(
    bench: Bench, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.home / name).write_bytes(b"torn")

    assert bench.settle()

    assert bench.cause() == {"mute.json": "software", "fault.json": "fault"}[name]
    assert len(caplog.records) == 1
    assert "so this is muted" in caplog.records[0].message


def test_deleted_file_mutes(bench: Bench) -> None:
    bench.command(muted=False)
    assert not bench.settle()

    (bench.home / "mute.json").unlink()

    assert bench.settle()


def test_unreadable_switch_mutes_and_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.lever.is_broken = True

    assert bench.settle()

    assert bench.cause() == "hardware"
    assert len(caplog.records) == 1
    bench.lever.is_broken = False
    assert not bench.settle()


def test_fault_mutes_until_a_person_clears_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.poll()
    bench.lever.throw(muted=True)

    for _ in range(5):
        bench.mute.set_fault("sound-while-muted")
        assert bench.poll()
        assert bench.cause() == "fault"
    bench.lever.throw(muted=False)
    assert bench.settle()
    bench.restart()
    assert bench.settle()
    assert bench.cause() == "fault"
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1

    bench.command_files.set_fault(bench.now(), None)

    assert not bench.settle()


def test_cleared_fault_can_recur(bench: Bench) -> None:
    bench.mute.set_fault("only-zeros-while-open")
    bench.settle()
    bench.command_files.set_fault(bench.now(), None)
    assert not bench.settle()

    bench.mute.set_fault("only-zeros-while-open")

    assert bench.settle()
    assert json.loads((bench.home / "fault.json").read_text())["reason"] == "only-zeros-while-open"


class AnyInterleaving(RuleBasedStateMachine):
    """Switch, command, messages, faults, broken lines, full disks and restarts in any order.

    A model keeps three reasons to be muted. The controller must be muted if any of them held at
    any moment since the last poll; when all has settled, only if one of them still holds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name), remote_unmute=True)
        self.software = self.faulty = False
        self.must_mute = False  # something muted since the last poll
        self.is_request_pending = False  # a mute request is not read yet
        self.is_command_new = False  # a mute command was written since the last poll
        self.bench.poll()  # before the first poll nothing was captured

    def _update(self) -> None:
        lever = self.bench.lever
        self.must_mute |= lever.is_thrown or self.software or self.faulty

    def _polled(self) -> None:
        # The position of a line that failed at the last poll is unknown.
        self.must_mute = self.bench.lever.is_broken
        self._update()

    @rule(muted=st.booleans())
    def throw(self, *, muted: bool) -> None:
        self._update()
        self.bench.lever.throw(muted=muted)
        self._update()

    @rule(broken=st.booleans())
    def break_line(self, *, broken: bool) -> None:
        # A line that fails and recovers between two polls leaves no trace.
        self.bench.lever.is_broken = broken

    @rule(muted=st.booleans())
    def command(self, *, muted: bool) -> None:
        self._update()
        self.bench.command(muted=muted)
        self.software = muted or self.is_request_pending
        self.is_command_new = muted
        self._update()

    @rule()
    def mute_by_message(self) -> None:
        self.bench.client.send(MuteRequest())
        self.software = self.is_request_pending = True
        self._update()

    @rule(data=st.binary(max_size=80))
    def send_invalid_data(self, data: bytes) -> None:
        self.bench.client._outbox.send(b"x" + data)  # noqa: SLF001 - not a request of ControlClient

    @rule()
    def unmute_by_message(self) -> None:
        self._update()
        self.bench.client.send(UnmuteRequest())
        self.bench.settle()
        # The order is unknown, and a request does not clear a command that may be later.
        self.software = self.is_command_new
        self.is_request_pending = self.is_command_new = False
        self._polled()

    @rule()
    def set_fault(self) -> None:
        self.bench.mute.set_fault("sound-while-muted")
        self.faulty = True
        self._update()

    @rule()
    def clear_fault(self) -> None:
        self.bench.settle()
        self.is_request_pending = self.is_command_new = False
        self.bench.command_files.set_fault(self.bench.now(), None)
        self.faulty = False
        self.bench.settle()
        self._polled()

    @rule()
    def restart(self) -> None:
        self.bench.settle()
        self.is_request_pending = self.is_command_new = False
        self.bench.restart()
        self.bench.poll()
        self._polled()

    @rule()
    def poll(self) -> None:
        self._update()
        self.must_mute |= self.bench.lever.is_broken
        is_muted = self.bench.poll()

        assert is_muted or not self.must_mute
        assert is_muted is (self.bench.cause() != "open")
        self.is_request_pending = self.is_command_new = False
        self._polled()

    def teardown(self) -> None:
        lever = self.bench.lever
        expected = lever.is_thrown or lever.is_broken or self.software or self.faulty
        settled = self.bench.settle()
        self.bench.close()
        self.folder.cleanup()

        assert settled is expected


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=100, stateful_step_count=40)


def test_records_are_announced_once_they_are_acted_on(bench: Bench) -> None:
    """`earmark mute` waits for this before it reports a state."""
    bench.settle()
    assert bench.announced == [(b"", b"")]

    bench.command(muted=True)
    assert len(bench.announced) == 1, "not before hear polls"
    bench.poll()
    muted = identify(bench.command_files.software.read())
    assert bench.announced[1:] == [(muted, b"")]

    bench.settle()
    bench.command(muted=False)
    bench.settle()
    assert bench.announced[2:] == [(identify(bench.command_files.software.read()), b"")]


def test_record_that_cannot_be_read_is_not_announced(bench: Bench) -> None:
    bench.settle()
    (bench.home / "mute.json").write_bytes(b"torn")

    assert bench.poll()
    assert bench.announced == [(b"", b"")]


BOOT, NEXT_BOOT = "1" * 36, "2" * 36


def pause(bench: Bench, seconds: float) -> None:
    """Mute for a time, as `earmark mute on --for` does."""
    bench.clock.name = BOOT
    bench.now_s += 0.000_01
    end = MutePause(boot=BOOT, until_s=bench.clock.now_s + seconds)
    bench.command_files.mute_until(bench.now(), end, bench.clock)


def test_pause_ends_by_itself_and_is_written_as_ended(bench: Bench) -> None:
    bench.poll()
    pause(bench, 3600)

    bench.clock.now_s += 3599.9
    assert bench.settle()
    assert bench.cause() == "software"
    bench.clock.now_s += 0.2

    assert not bench.settle()
    assert json.loads((bench.home / "mute.json").read_text())["muted"] is False
    bench.clock.name = NEXT_BOOT  # the end is not decided again after a restart
    bench.restart()
    assert not bench.settle()


def test_pause_ends_at_the_start_of_hear_when_it_did_not_run_at_the_end(bench: Bench) -> None:
    pause(bench, 3600)
    bench.clock.now_s += 3601

    bench.restart()

    assert bench.poll(), "muted until the end is read and written"
    assert not bench.settle()


@pytest.mark.parametrize("runs_s", [0.0, 100.0, 1e6])
def test_pause_that_a_restart_of_the_computer_interrupts_stays_muted(
    bench: Bench, runs_s: float
) -> None:
    pause(bench, 3600)
    bench.clock.name, bench.clock.now_s = NEXT_BOOT, runs_s

    bench.restart()

    assert bench.settle()
    bench.command(muted=False)
    assert not bench.settle(), "a person unmutes"


def test_jump_of_the_wall_clock_ends_no_pause(bench: Bench) -> None:
    bench.poll()
    pause(bench, 3600)
    bench.now_s += 10 * 86_400  # the wall clock and the monotonic clock; the running time stands

    assert bench.settle()


def test_pause_is_muted_while_its_end_cannot_be_written(bench: Bench) -> None:
    bench.poll()
    pause(bench, 60)
    (bench.home / ".mute.json.part").mkdir()
    bench.clock.now_s += 61

    assert bench.settle()
    (bench.home / ".mute.json.part").rmdir()
    assert not bench.settle()


def test_message_during_a_pause_mutes_without_end(bench: Bench) -> None:
    bench.poll()
    pause(bench, 60)
    bench.settle()
    bench.client.send(MuteRequest())
    bench.settle()

    bench.clock.now_s += 61

    assert bench.settle()
    assert json.loads((bench.home / "mute.json").read_text())["by"] == "message"


def test_message_that_waits_for_the_disk_outlasts_a_pause(bench: Bench) -> None:
    bench.poll()
    bench.client.send(MuteRequest())
    bench.poll()
    pause(bench, 60)
    bench.settle()
    bench.clock.now_s += 61

    assert bench.settle()


def test_command_without_end_replaces_a_pause(bench: Bench) -> None:
    bench.poll()
    pause(bench, 60)
    bench.settle()
    bench.command(muted=True)
    bench.clock.now_s += 61

    assert bench.settle()


def test_end_of_a_pause_does_not_replace_a_newer_mute(bench: Bench) -> None:
    """A mute is written between the controller's look at the file and its write."""
    bench.poll()
    pause(bench, 60)
    bench.settle()
    record = bench.command_files.software.read()
    assert record is not None
    bench.command(muted=True)

    bench.command_files.unmute(bench.now(), "command", ends=record)

    assert bench.settle()


def test_message_ends_a_pause_with_remote_unmute(remote: Bench) -> None:
    remote.poll()
    pause(remote, 3600)
    remote.settle()
    remote.client.send(UnmuteRequest())

    assert not remote.settle()
