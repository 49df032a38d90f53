"""What is tried, and what is not; a microphone that sounds is tried in tests/system."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from listener.config import Config, MicrophoneSettings, MuteSettings
from listener.hear.mute.lasting import MuteFiles
from listener.hear.mute.switches import LineSwitch
from listener.hear.trying import trial
from listener.system.findings import Finding


class FakeLine:
    """The switch's line."""

    def __init__(self, *, is_down: bool) -> None:
        self.is_down = is_down

    def fileno(self) -> int:
        return 0

    def was_muted(self) -> bool:
        return self.is_down

    def close(self) -> None:
        pass


def test_with_the_switch_open_nothing_is_proven(home: Path) -> None:
    switch = LineSwitch("fake", lambda: FakeLine(is_down=False), lambda: 0.0)

    finding = trial.prove_switch_cuts_microphone(
        MicrophoneSettings(device="no such"), switch, MuteFiles(home)
    )

    assert finding.verdict == "fail"
    assert "open" in finding.text


def test_with_a_line_that_cannot_be_read_nothing_is_proven(home: Path) -> None:
    def gone() -> FakeLine:
        raise OSError("gone")

    switch = LineSwitch("fake", gone, lambda: 0.0)

    finding = trial.prove_switch_cuts_microphone(
        MicrophoneSettings(device="no such"), switch, MuteFiles(home)
    )

    assert finding.verdict == "fail"


def found(home: Path, mute: MuteSettings, *, prove_mute: bool = False) -> Sequence[Finding]:
    settings = Config(
        home=str(home), mute=mute, microphone=MicrophoneSettings(device="no such card")
    )
    return list(trial.probe_microphone(settings, prove_mute=prove_mute))


def test_without_a_word_about_the_switch_nothing_is_opened(home: Path) -> None:
    (finding,) = found(home, MuteSettings())

    assert (finding.check, finding.verdict) == ("mute", "fail")
    assert "mute.switch" in finding.hint


def test_a_switch_that_cannot_be_read_fails_and_nothing_is_opened(home: Path) -> None:
    mute, microphone = found(home, MuteSettings(switch="input", input="/nowhere/event0"))

    assert (mute.check, mute.verdict) == ("mute", "fail")
    assert "not listened to" in microphone.text


def test_a_software_mute_is_said_and_nothing_is_opened(home: Path) -> None:
    MuteFiles(home).mute(datetime.now(UTC), "command", muted=True)

    mute, microphone = found(home, MuteSettings(switch="none"))

    assert mute.verdict == "warn"
    assert mute.hint == "earmark mute off"
    assert "not listened to" in microphone.text


def test_a_fault_fails_until_it_is_cleared(home: Path) -> None:
    MuteFiles(home).set_fault(datetime.now(UTC), "only-zeros-while-open")

    mute, _ = found(home, MuteSettings(switch="none"))

    assert mute.verdict == "fail"
    assert "only zeros" in mute.text
    assert "clear-fault" in mute.hint


def test_a_damaged_fault_is_a_fault(home: Path) -> None:
    (home / "fault.json").write_text("{", "utf-8")

    mute, _ = found(home, MuteSettings(switch="none"))

    assert mute.verdict == "fail"
    assert "damaged" in mute.text


def test_without_a_switch_there_is_nothing_to_prove(home: Path) -> None:
    mute, proof = found(home, MuteSettings(switch="none"), prove_mute=True)

    assert mute.verdict == "warn"
    assert (proof.check, proof.verdict) == ("proof", "fail")
