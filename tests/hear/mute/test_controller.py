"""Hardware, software and fault as one switch."""

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
from listener.hear.mute.state import MuteFiles
from listener.hear.mute.switch import NoSwitch
from listener.ipc.control import ControlClient, ControlSocket, MuteRequest, UnmuteRequest, Wakeup


class Lever:
    """A switch that is thrown by the test, and whose line can break."""

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

    def throw(self, *, shut: bool) -> None:
        self.is_thrown = shut
        self.was_thrown |= shut


class Bench:
    """A mute on a real home and a real control socket; time and the lever are the test's."""

    def __init__(self, home: Path, *, remote_unmute: bool = False) -> None:
        self.home = home
        self.remote_unmute = remote_unmute
        self.now_s = 100.0
        self.lever = Lever()
        self.person = MuteFiles(home)
        self.controller = ControlClient(home / "control.sock")
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
        )

    def restart(self) -> None:
        self.requests.close()
        self.start()

    def now(self) -> datetime:
        return datetime(2026, 3, 4, tzinfo=UTC) + timedelta(seconds=self.now_s)

    def command(self, *, muted: bool) -> None:
        """What `earmark mute on` and `off` do."""
        self.now_s += 0.000_01
        self.person.mute(self.now(), "command", muted=muted)

    def ask(self) -> bool:
        """Ask once, as the gate does at each block."""
        self.now_s += 0.08
        return self.mute.is_muted(0)

    def cause(self) -> str:
        """What the last answer was for."""
        return self.mute.cause

    def settle(self) -> bool:
        """Ask until nothing of the past is in the answer, and every pause is over."""
        for _ in range(40):
            self.ask()
        return self.ask()

    def close(self) -> None:
        self.requests.close()
        self.controller.close()


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    made = Bench(home)
    yield made
    made.close()


@pytest.fixture
def remote(home: Path) -> Iterator[Bench]:
    made = Bench(home, remote_unmute=True)
    yield made
    made.close()


def test_nothing_mutes_at_first(bench: Bench) -> None:
    assert bench.cause() == "hardware", "before the line was read"
    assert not bench.ask()
    assert bench.cause() == "open"
    assert bench.mute.about == "lever"


def test_where_no_switch_is_fitted_nothing_is_ever_muted_by_hardware(bench: Bench) -> None:
    mute = MuteController(
        NoSwitch(),
        MuteFiles(bench.home),
        bench.requests,
        remote_unmute=False,
        now=bench.now,
        monotonic_s=lambda: bench.now_s,
    )
    causes = [mute.cause]

    for muted in (True, False):
        bench.command(muted=muted)
        mute.is_muted(0)
        causes.append(mute.cause)
        mute.is_muted(0)
        causes.append(mute.cause)

    assert causes == ["software", "software", "software", "software", "open"]


def test_it_waits_for_the_switch_and_for_requests(bench: Bench) -> None:
    assert bench.mute.filenos() == (7, bench.requests.fileno())


def test_releasing_the_switch_clears_no_software_mute(bench: Bench) -> None:
    bench.command(muted=True)
    bench.lever.throw(shut=True)
    assert bench.ask()
    assert bench.cause() == "hardware"

    bench.lever.throw(shut=False)

    assert bench.settle()
    assert bench.cause() == "software"


def test_software_does_not_open_what_the_switch_shut(remote: Bench) -> None:
    remote.lever.throw(shut=True)
    remote.command(muted=False)
    remote.controller.send(UnmuteRequest())

    assert remote.settle()
    assert remote.cause() == "hardware"


def test_a_command_mutes_and_unmutes(bench: Bench) -> None:
    bench.ask()

    bench.command(muted=True)
    assert bench.ask()
    assert bench.cause() == "software"
    bench.command(muted=False)

    assert bench.ask(), "it was muted until a moment ago"
    assert not bench.ask()


def test_muted_and_unmuted_between_two_questions_was_muted(bench: Bench) -> None:
    bench.ask()

    bench.command(muted=True)
    bench.command(muted=False)

    assert bench.ask()
    assert not bench.ask()


def test_a_message_mutes_at_once_and_outlasts_a_restart(bench: Bench) -> None:
    bench.ask()
    bench.controller.send(MuteRequest())

    assert bench.ask()
    assert not (bench.home / "mute.json").exists(), (
        "the microphone is shut before the disk is asked"
    )
    assert bench.ask()

    written = json.loads((bench.home / "mute.json").read_text())
    assert (written["muted"], written["by"]) == (True, "message")
    bench.restart()
    assert bench.ask()
    assert bench.cause() == "software"


def test_a_message_does_not_unmute_by_default(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.command(muted=True)
    bench.ask()

    for _ in range(3):
        bench.controller.send(UnmuteRequest())

    assert bench.settle()
    assert bench.mute.ignored == 3
    assert [record.message for record in caplog.records] == [
        "an unmute request was ignored: mute.remote_unmute is false"
    ]


def test_a_message_unmutes_where_the_settings_say_so(remote: Bench) -> None:
    remote.command(muted=True)
    remote.ask()

    remote.controller.send(UnmuteRequest())

    assert not remote.settle()
    remote.restart()
    assert not remote.ask()


def test_a_mute_and_an_unmute_in_one_block_mute_that_block(remote: Bench) -> None:
    remote.ask()

    remote.controller.send(MuteRequest())
    remote.controller.send(UnmuteRequest())

    assert remote.ask()
    assert remote.cause() == "software"
    assert not remote.ask()


def test_an_unmute_while_nothing_mutes_does_not_undo_a_later_mute(remote: Bench) -> None:
    remote.ask()
    remote.controller.send(UnmuteRequest())
    remote.ask()

    remote.command(muted=True)

    assert remote.settle()


def test_an_unmute_that_waits_to_be_read_does_not_undo_a_later_mute(remote: Bench) -> None:
    remote.ask()
    remote.controller.send(UnmuteRequest())

    remote.command(muted=True)

    assert remote.settle()


def test_an_unmute_that_waits_for_the_disk_does_not_undo_a_later_mute(remote: Bench) -> None:
    remote.command(muted=True)
    remote.ask()
    remote.controller.send(MuteRequest())
    remote.ask()
    remote.ask()  # a write, so that the next one has to wait
    remote.controller.send(UnmuteRequest())
    remote.ask()

    remote.command(muted=True)

    assert remote.settle()


def test_a_command_is_later_than_a_message_that_waits_for_the_disk(bench: Bench) -> None:
    bench.ask()
    (bench.home / ".mute.json.part").mkdir()
    bench.controller.send(MuteRequest())
    assert bench.settle()
    (bench.home / ".mute.json.part").rmdir()

    bench.command(muted=False)

    assert not bench.settle()


def test_an_unmute_right_after_a_mute_was_written_is_obeyed(remote: Bench) -> None:
    remote.ask()
    remote.controller.send(MuteRequest())
    remote.ask()
    remote.controller.send(UnmuteRequest())

    assert not remote.settle()


def test_messages_wear_out_no_disk(remote: Bench) -> None:
    remote.ask()
    written = set()

    for _ in range(100):
        remote.controller.send(MuteRequest())
        remote.ask()
        remote.controller.send(UnmuteRequest())
        remote.ask()
        if (remote.home / "mute.json").exists():
            written.add((remote.home / "mute.json").read_text())

    seconds = 200 * 0.08
    assert len(written) <= seconds / WRITE_PAUSE_S + 1


def test_a_look_changes_nothing(bench: Bench) -> None:
    bench.ask()
    bench.controller.send(Wakeup())

    assert not bench.ask()


def test_a_disk_that_fails_does_not_unmute_and_is_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ask()
    (bench.home / ".mute.json.part").mkdir()
    bench.controller.send(MuteRequest())

    assert bench.settle()

    assert not (bench.home / "mute.json").exists()
    assert len(caplog.records) == 1
    assert "cannot save the mute state" in caplog.records[0].message
    (bench.home / ".mute.json.part").rmdir()
    bench.settle()
    assert (bench.home / "mute.json").exists()


@pytest.mark.parametrize("name", ["mute.json", "fault.json"])
def test_a_damaged_file_is_muted_and_said_once(
    bench: Bench, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.home / name).write_bytes(b"torn")

    assert bench.settle()

    assert bench.cause() == {"mute.json": "software", "fault.json": "fault"}[name]
    assert len(caplog.records) == 1
    assert "so this is muted" in caplog.records[0].message


def test_a_file_that_is_taken_away_is_muted(bench: Bench) -> None:
    bench.command(muted=False)
    assert not bench.settle()

    (bench.home / "mute.json").unlink()

    assert bench.settle()


def test_a_line_that_cannot_be_read_is_muted_and_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.lever.is_broken = True

    assert bench.settle()

    assert bench.cause() == "hardware"
    assert len(caplog.records) == 1
    bench.lever.is_broken = False
    assert not bench.settle()


def test_a_fault_mutes_until_a_person_clears_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ask()
    bench.lever.throw(shut=True)

    for _ in range(5):
        bench.mute.set_fault("sound-while-muted")
        assert bench.ask()
        assert bench.cause() == "fault"
    bench.lever.throw(shut=False)
    assert bench.settle()
    bench.restart()
    assert bench.settle()
    assert bench.cause() == "fault"
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1

    bench.person.set_fault(bench.now(), None)

    assert not bench.settle()


def test_a_fault_that_was_cleared_can_come_again(bench: Bench) -> None:
    bench.mute.set_fault("only-zeros-while-open")
    bench.settle()
    bench.person.set_fault(bench.now(), None)
    assert not bench.settle()

    bench.mute.set_fault("only-zeros-while-open")

    assert bench.settle()
    assert json.loads((bench.home / "fault.json").read_text())["reason"] == "only-zeros-while-open"


class AnyInterleaving(RuleBasedStateMachine):
    """Switch, command, messages, faults, broken lines, full disks and restarts in any order.

    Three reasons to be muted are kept beside it; it must be shut if any of them held at any
    moment since it was asked last, and once all is quiet it must be shut only if one still does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name), remote_unmute=True)
        self.software = self.faulty = False
        self.owed = False  # something muted since the last question
        self.told = False  # a message to mute waits to be taken
        self.commanded = False  # a person's command to mute came since the last question
        self.bench.ask()  # before the first question nothing was heard

    def _note(self) -> None:
        lever = self.bench.lever
        self.owed |= lever.is_thrown or self.software or self.faulty

    def _answered(self) -> None:
        # Nobody knows what was behind a line that was broken when it was asked.
        self.owed = self.bench.lever.is_broken
        self._note()

    @rule(shut=st.booleans())
    def throw(self, *, shut: bool) -> None:
        self._note()
        self.bench.lever.throw(shut=shut)
        self._note()

    @rule(broken=st.booleans())
    def break_the_line(self, *, broken: bool) -> None:
        # A line that is broken and mended between two questions left no trace.
        self.bench.lever.is_broken = broken

    @rule(muted=st.booleans())
    def command(self, *, muted: bool) -> None:
        self._note()
        self.bench.command(muted=muted)
        self.software = muted or self.told
        self.commanded = muted
        self._note()

    @rule()
    def mute_by_message(self) -> None:
        self.bench.controller.send(MuteRequest())
        self.software = self.told = True
        self._note()

    @rule(data=st.binary(max_size=80))
    def send_rubbish(self, data: bytes) -> None:
        self.bench.controller._outbox.send(b"x" + data)  # noqa: SLF001 - what no controller says

    @rule()
    def unmute_by_message(self) -> None:
        self._note()
        self.bench.controller.send(UnmuteRequest())
        self.bench.settle()
        # Nobody knows which came last, and a message takes back no command that may be later.
        self.software = self.commanded
        self.told = self.commanded = False
        self._answered()

    @rule()
    def find_a_fault(self) -> None:
        self.bench.mute.set_fault("sound-while-muted")
        self.faulty = True
        self._note()

    @rule()
    def clear_the_fault(self) -> None:
        self.bench.settle()
        self.told = self.commanded = False
        self.bench.person.set_fault(self.bench.now(), None)
        self.faulty = False
        self.bench.settle()
        self._answered()

    @rule()
    def restart(self) -> None:
        self.bench.settle()
        self.told = self.commanded = False
        self.bench.restart()
        self.bench.ask()
        self._answered()

    @rule()
    def ask(self) -> None:
        self._note()
        self.owed |= self.bench.lever.is_broken
        shut = self.bench.ask()

        assert shut or not self.owed
        assert shut is (self.bench.cause() != "open")
        self.told = self.commanded = False
        self._answered()

    def teardown(self) -> None:
        lever = self.bench.lever
        expected = lever.is_thrown or lever.is_broken or self.software or self.faulty
        settled = self.bench.settle()
        self.bench.close()
        self.folder.cleanup()

        assert settled is expected


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=100, stateful_step_count=40)
