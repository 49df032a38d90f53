"""What is made of a few seconds of sound, as numbers."""

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.hear.microphone.records import Cause, FailedRecord, OpenedRecord
from listener.hear.trying.judging import FAINT_DBFS, ProbeResult, assess_levels, assess_proof


def noise(amplitude: float, frames: int = 25) -> Samples:
    rng = np.random.default_rng(1)
    samples: Samples = rng.normal(0, amplitude, (frames, FRAME_SAMPLES)).clip(-32_768, 32_767)
    return samples.astype(np.int16)


def heard(*frames: Samples, cause: Cause | None = None, muted: bool = False) -> ProbeResult:
    made = ProbeResult(opened=OpenedRecord(48_000, 1), was_muted=muted)
    made.failed = None if cause is None else FailedRecord(cause)
    for frame in frames:
        made.levels.push(frame)
    return made


def test_a_microphone_in_a_room_is_well_and_its_numbers_are_there() -> None:
    room = noise(20)
    room[10:15] = noise(3_000, 5)

    finding = assess_levels("default", heard(*room))

    assert finding.verdict == "ok"
    assert finding.facts["length_samples"] == 25 * FRAME_SAMPLES
    assert -70 < float(finding.facts["floor_dbfs"]) < -60
    assert float(finding.facts["level_dbfs"]) > -30
    assert finding.facts["clipped_samples"] == 0


@pytest.mark.parametrize(
    ("frames", "word"),
    [
        (noise(40_000), "too loud"),
        (noise(2_000), "noisy"),
        (noise(1), "hardly anything"),
    ],
)
def test_a_level_that_wants_a_hand_is_a_warning(frames: Samples, word: str) -> None:
    finding = assess_levels("default", heard(*frames))

    assert finding.verdict == "warn"
    assert word in finding.text
    assert finding.hint


@pytest.mark.parametrize("cause", list(Cause))
def test_a_microphone_that_fails_says_why(cause: Cause) -> None:
    finding = assess_levels("kitchen", heard(*noise(20), cause=cause))

    assert finding.verdict == "fail"
    assert finding.text.startswith("kitchen: ")


def test_nothing_at_all_is_a_failure() -> None:
    assert assess_levels("default", heard()).verdict == "fail"


def test_a_switch_thrown_meanwhile_is_no_failure() -> None:
    assert assess_levels("default", heard(*noise(20), muted=True)).verdict == "warn"


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        (heard(*np.zeros((25, FRAME_SAMPLES), np.int16)), "ok"),
        (heard(cause=Cause.MISSING), "ok"),
        (heard(cause=Cause.GONE), "ok"),
        (heard(*noise(1)), "warn"),
        (heard(*noise(300)), "fail"),
        (heard(cause=Cause.BUSY), "fail"),
        (heard(), "fail"),
        (heard(*noise(300), muted=True), "fail"),
    ],
)
def test_a_switch_cuts_the_microphone_or_does_not(what: ProbeResult, verdict: str) -> None:
    finding = assess_proof(what)

    assert finding.verdict == verdict
    assert finding.facts["contradiction"] is ("NOT CUT" in finding.text)
    assert ("NOT CUT" in finding.text) == (
        what.levels.level_dbfs > FAINT_DBFS and not what.was_muted
    )
