"""Checks of the microphone without a device; tests/system checks one that delivers sound."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.config import Config, MicrophoneSettings, MuteSettings
from listener.hear.microphone.protocol import Cause, FailedRecord, OpenedRecord
from listener.hear.mute.state import MuteFiles
from listener.hear.mute.switch import LineSwitch
from listener.hear.probe.microphone import (
    FAINT_DBFS,
    ProbeResult,
    assess_levels,
    assess_proof,
    probe_microphone,
    prove_switch_cuts_microphone,
)
from listener.system.findings import Finding


class FakeLine:
    """Line of a switch, muted or open."""

    def __init__(self, *, is_muted: bool) -> None:
        self.is_muted = is_muted

    def fileno(self) -> int:
        return 0

    def was_muted(self) -> bool:
        return self.is_muted

    def close(self) -> None:
        pass


def test_proof_fails_while_the_switch_is_open(home: Path) -> None:
    switch = LineSwitch("fake", lambda: FakeLine(is_muted=False), lambda: 0.0)

    finding = prove_switch_cuts_microphone(
        MicrophoneSettings(device="no such"), switch, MuteFiles(home)
    )

    assert finding.verdict == "fail"
    assert "open" in finding.text


def test_proof_fails_when_the_switch_cannot_be_read(home: Path) -> None:
    def gone() -> FakeLine:
        raise OSError("gone")

    switch = LineSwitch("fake", gone, lambda: 0.0)

    finding = prove_switch_cuts_microphone(
        MicrophoneSettings(device="no such"), switch, MuteFiles(home)
    )

    assert finding.verdict == "fail"


def probe(home: Path, mute: MuteSettings, *, prove_mute: bool = False) -> Sequence[Finding]:
    settings = Config(
        home=str(home), mute=mute, microphone=MicrophoneSettings(device="no such card")
    )
    return list(probe_microphone(settings, prove_mute=prove_mute))


def test_unset_mute_switch_fails_and_nothing_is_opened(home: Path) -> None:
    (finding,) = probe(home, MuteSettings())

    assert (finding.check, finding.verdict) == ("mute", "fail")
    assert "mute.switch" in finding.hint


def test_unreadable_switch_fails_and_nothing_is_opened(home: Path) -> None:
    mute, microphone = probe(home, MuteSettings(switch="input", input="/nowhere/event0"))

    assert (mute.check, mute.verdict) == ("mute", "fail")
    assert "not recorded" in microphone.text


def test_software_mute_is_reported_and_nothing_is_opened(home: Path) -> None:
    MuteFiles(home).mute(datetime.now(UTC), "command", muted=True)

    mute, microphone = probe(home, MuteSettings(switch="none"))

    assert mute.verdict == "warn"
    assert mute.hint == "earmark mute off"
    assert "not recorded" in microphone.text


def test_stored_fault_fails_until_it_is_cleared(home: Path) -> None:
    MuteFiles(home).set_fault(datetime.now(UTC), "only-zeros-while-open")

    mute, _ = probe(home, MuteSettings(switch="none"))

    assert mute.verdict == "fail"
    assert "only zeros" in mute.text
    assert "clear-fault" in mute.hint


def test_damaged_fault_file_fails(home: Path) -> None:
    (home / "fault.json").write_text("{", "utf-8")

    mute, _ = probe(home, MuteSettings(switch="none"))

    assert mute.verdict == "fail"
    assert "damaged" in mute.text


def test_proof_fails_where_no_switch_is_fitted(home: Path) -> None:
    mute, proof = probe(home, MuteSettings(switch="none"), prove_mute=True)

    assert mute.verdict == "warn"
    assert (proof.check, proof.verdict) == ("proof", "fail")


def noise(amplitude: float, frames: int = 25) -> Samples:
    rng = np.random.default_rng(1)
    samples: Samples = rng.normal(0, amplitude, (frames, FRAME_SAMPLES)).clip(-32_768, 32_767)
    return samples.astype(np.int16)


def probe_result(*frames: Samples, cause: Cause | None = None, muted: bool = False) -> ProbeResult:
    result = ProbeResult(opened=OpenedRecord(48_000, 1), was_muted=muted)
    result.failed = None if cause is None else FailedRecord(cause)
    for frame in frames:
        result.levels.push(frame)
    return result


def test_normal_levels_pass_and_are_reported() -> None:
    room = noise(20)
    room[10:15] = noise(3_000, 5)

    finding = assess_levels("default", probe_result(*room))

    assert finding.verdict == "ok"
    assert finding.facts["length_samples"] == 25 * FRAME_SAMPLES
    assert -70 < float(finding.facts["floor_dbfs"]) < -60
    assert float(finding.facts["level_dbfs"]) > -30
    assert finding.facts["clipped_samples"] == 0


@pytest.mark.parametrize(
    ("frames", "word"),
    [
        (noise(40_000), "too loud"),
        (noise(2_000), "too noisy"),
        (noise(1), "too quiet"),
    ],
)
def test_level_too_high_too_noisy_or_too_low_is_a_warning(frames: Samples, word: str) -> None:
    finding = assess_levels("default", probe_result(*frames))

    assert finding.verdict == "warn"
    assert word in finding.text
    assert finding.hint


@pytest.mark.parametrize("cause", list(Cause))
def test_failed_microphone_is_reported_with_its_cause(cause: Cause) -> None:
    finding = assess_levels("kitchen", probe_result(*noise(20), cause=cause))

    assert finding.verdict == "fail"
    assert finding.text.startswith("kitchen: ")


def test_microphone_without_any_sound_fails() -> None:
    assert assess_levels("default", probe_result()).verdict == "fail"


def test_mute_during_the_check_is_a_warning() -> None:
    assert assess_levels("default", probe_result(*noise(20), muted=True)).verdict == "warn"


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (probe_result(*np.zeros((25, FRAME_SAMPLES), np.int16)), "ok"),
        (probe_result(cause=Cause.MISSING), "ok"),
        (probe_result(cause=Cause.GONE), "ok"),
        (probe_result(*noise(1)), "warn"),
        (probe_result(*noise(300)), "fail"),
        (probe_result(cause=Cause.BUSY), "fail"),
        (probe_result(), "fail"),
        (probe_result(*noise(300), muted=True), "fail"),
    ],
)
def test_proof_verdict_follows_the_level_while_muted(result: ProbeResult, verdict: str) -> None:
    finding = assess_proof(result)

    assert finding.verdict == verdict
    assert finding.facts["contradiction"] is ("NOT CUT" in finding.text)
    assert ("NOT CUT" in finding.text) == (
        result.levels.level_dbfs > FAINT_DBFS and not result.was_muted
    )
