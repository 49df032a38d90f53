"""Clip capture in simulated time: each wake that begins a clip is decided exactly once."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.clip import Recorder, longest_samples
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Gap, GapReason
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings
from listener.hear.clip_capture import ClipCapture
from listener.hear.counters import ClipOutcome, Counters, PendingClip
from listener.hear.events import Event, NotKeptEvent
from listener.hear.indicators.chime import AFTER_S
from listener.hear.sealer import CapturedClip
from listener.wakeword.detector import Wake
from tests.fakes import LoudnessModel, PlainBuffers, told

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SPEECH, SILENCE, TONE = 5_000, 3, 7_000
BUFFERS = 2


class StrictCounters(Counters):
    """Counters that record how often the outcome of each clip is set."""

    def __init__(self) -> None:
        super().__init__("speaker", "0" * 16)
        self.begun: list[PendingClip] = []
        self.decisions: Counter[int] = Counter()

    def begin_clip(self, first_sample: int) -> PendingClip:
        pending = super().begin_clip(first_sample)
        self.begun.append(pending)
        return pending

    def set_outcome(self, pending: PendingClip, outcome: ClipOutcome, seq: int = 0) -> None:
        self.decisions[id(pending)] += 1
        super().set_outcome(pending, outcome, seq)


class ScriptedChime:
    """A chime that sounds until the test ends it."""

    def __init__(self) -> None:
        self.plays = 0
        self.is_playing = False

    def play(self) -> None:
        self.plays += 1
        self.is_playing = True


class CaptureFixture:
    """A clip capture with a real recorder; the sink seals each clip at once, or holds it."""

    def __init__(self, *, chime: ScriptedChime | None = None, seals_at_once: bool = True) -> None:
        clip = ClipSettings(
            pre_roll_s=0.0 if chime else 0.4,
            post_roll_s=0.1,
            silence_s=0.2,
            no_speech_s=0.5,
            longest_s=1.0,
        )
        self.ring = Ring(np.zeros(13 * FRAME_SAMPLES, np.int16))
        self.buffers = PlainBuffers(BUFFERS, longest_samples(clip))
        self.counters = StrictCounters()
        self.events: list[Event] = []
        self.clips: list[CapturedClip] = []
        self.wakes = self.wipes = 0
        self.position = 0
        self._waiting: list[CapturedClip] = []
        self._seals_at_once = seals_at_once
        self.capture = ClipCapture(
            recorder=Recorder(self.ring, LoudnessModel(), clip, self.buffers),
            sealer=self,
            counters=self.counters,
            publish=self.events.append,
            models={"alexa": "ab" * 32},
            now=lambda: NOW,
            chime=chime,
        )

    def offer(self, capture: CapturedClip) -> None:
        self.clips.append(capture)
        self._waiting.append(capture)
        if self._seals_at_once:
            self.seal_all()

    def seal_all(self) -> None:
        for capture in self._waiting:
            self.counters.set_outcome(capture.pending, ClipOutcome.SEALED)
            self.buffers.release(capture.clip.samples)
        self._waiting.clear()

    def expire(self) -> None:
        """Nothing waits here."""

    def wipe(self) -> None:
        self.wipes += 1

    def play(self, count: int, value: int) -> None:
        """Push frames that all have one value."""
        for frame in told(count, self.position, value):
            self.ring.push(frame)
            self.counters.count_frame(frame, self.ring.first_sample)
            self.capture.push(frame)
            self.position = frame.end_sample

    def wake(self) -> None:
        self.capture.start(Wake("alexa", 0.9, self.position, 0.5))

    def skip(self, reason: GapReason) -> None:
        """Wipe the ring buffer as the listen loop does at a gap."""
        self.ring.wipe()
        self.counters.count_gap(Gap(reason, self.position, FRAME_SAMPLES))
        self.position += FRAME_SAMPLES

    def reasons(self) -> list[str]:
        """Reasons of all wakes without a clip."""
        return [event.reason for event in self.events if isinstance(event, NotKeptEvent)]


def test_clip_is_offered_at_its_endpoint() -> None:
    fixture = CaptureFixture()
    fixture.play(10, SILENCE)
    fixture.wake()
    assert fixture.capture.is_active

    fixture.play(8, SPEECH)
    fixture.play(8, SILENCE)

    (captured,) = fixture.clips
    assert not fixture.capture.is_active
    assert fixture.events == []
    assert (captured.word, captured.model_sha256, captured.score) == ("alexa", "ab" * 32, 0.9)
    assert captured.clip.wake_sample == 10 * FRAME_SAMPLES
    assert captured.pending.end_sample == captured.clip.end_sample


def test_begin_time_is_the_clips_first_sample() -> None:
    fixture = CaptureFixture(seals_at_once=False)
    fixture.play(10, SILENCE)
    fixture.wake()

    fixture.play(5, SPEECH)
    fixture.capture.finish()

    (captured,) = fixture.clips
    age_s = (15 * FRAME_SAMPLES - captured.clip.first_sample) / SAMPLE_RATE_HZ
    assert captured.began == NOW - timedelta(seconds=age_s)


def test_wake_inside_a_clip_begins_no_second_clip() -> None:
    chime = ScriptedChime()
    fixture = CaptureFixture(chime=chime)
    fixture.play(5, SILENCE)
    fixture.wake()
    fixture.wake()
    chime.is_playing = False

    fixture.play(7, SILENCE)
    fixture.wake()

    assert chime.plays == 1
    assert fixture.capture.is_active
    assert len(fixture.counters.begun) == 1


def test_clip_begins_after_the_chime_and_its_echo() -> None:
    chime = ScriptedChime()
    fixture = CaptureFixture(chime=chime, seals_at_once=False)
    fixture.play(5, SILENCE)
    fixture.wake()
    fixture.play(4, TONE)
    assert fixture.counters.begun == []
    assert fixture.capture.is_chime_playing
    chime.is_playing = False
    chime_end = fixture.position

    fixture.play(1, SILENCE)
    assert not fixture.capture.is_chime_playing
    fixture.play(7, SILENCE)
    fixture.play(3, SPEECH)
    fixture.capture.finish()

    (captured,) = fixture.clips
    assert captured.clip.first_sample >= chime_end + round(AFTER_S * SAMPLE_RATE_HZ)
    assert TONE not in captured.clip.samples


@pytest.mark.parametrize("reason", ["muted", "gap", "stopped"])
@pytest.mark.parametrize("has_chime", [False, True])
def test_abandoned_clip_is_wiped_and_counted(reason: str, *, has_chime: bool) -> None:
    fixture = CaptureFixture(chime=ScriptedChime() if has_chime else None)
    fixture.play(10, SPEECH)
    fixture.wake()
    fixture.play(2, SPEECH)

    fixture.capture.abandon(reason)  # type: ignore[arg-type]  # one of the literals

    assert not fixture.capture.is_active
    assert fixture.reasons() == [reason]
    assert fixture.counters.tally().abandoned == 1
    assert len(fixture.buffers.free) == BUFFERS
    assert not any(buffer.any() for buffer in fixture.buffers.all)


def test_abandon_without_a_clip_publishes_nothing() -> None:
    fixture = CaptureFixture()
    fixture.play(2, SPEECH)

    fixture.capture.abandon("gap")

    assert fixture.events == []
    assert fixture.counters.begun == []


def test_finish_during_the_chime_abandons_the_clip() -> None:
    fixture = CaptureFixture(chime=ScriptedChime())
    fixture.play(3, SILENCE)
    fixture.wake()

    fixture.capture.finish()

    assert (fixture.clips, fixture.reasons()) == ([], ["gap"])


def test_wipe_abandons_the_clip_and_wipes_the_sealer() -> None:
    fixture = CaptureFixture()
    fixture.play(3, SILENCE)
    fixture.wake()

    fixture.capture.wipe()

    assert (fixture.wipes, fixture.reasons()) == (1, ["muted"])


@pytest.mark.parametrize("has_chime", [False, True])
def test_wake_without_a_free_buffer_is_counted(*, has_chime: bool) -> None:
    chime = ScriptedChime()
    fixture = CaptureFixture(chime=chime if has_chime else None)
    fixture.buffers.free.clear()
    fixture.play(3, SILENCE)

    fixture.wake()
    chime.is_playing = False
    fixture.play(8, SILENCE)

    assert not fixture.capture.is_active
    assert fixture.reasons() == ["busy"]
    assert fixture.counters.tally().abandoned == 1


ACTIONS = ("speech", "silence", "wake", "chime over", "finish", "gap", "mute", "seal", "stop")


def perform(fixture: CaptureFixture, chime: ScriptedChime, action: str, count: int) -> None:
    """Do what the listen loop, the chime or the sealer does."""
    match action:
        case "speech" | "silence":
            fixture.play(count, SPEECH if action == "speech" else SILENCE)
        case "wake":
            fixture.play(1, SPEECH)  # a wake is always at the end of a frame
            fixture.wakes += not fixture.capture.is_active
            fixture.wake()
        case "chime over":
            chime.is_playing = False
        case "finish":
            fixture.capture.finish()
            fixture.skip(GapReason.START)
        case "gap":
            fixture.capture.abandon("gap")
            fixture.skip(GapReason.LOST)
        case "mute":
            fixture.capture.wipe()
            fixture.skip(GapReason.MUTED)
        case "seal":
            fixture.seal_all()
        case _:
            fixture.capture.abandon("stopped")


@settings(max_examples=150)
@given(
    actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 8)), max_size=40),
    has_chime=st.booleans(),
    seals_at_once=st.booleans(),
)
def test_every_clip_is_decided_exactly_once(
    actions: list[tuple[str, int]], *, has_chime: bool, seals_at_once: bool
) -> None:
    chime = ScriptedChime()
    fixture = CaptureFixture(chime=chime if has_chime else None, seals_at_once=seals_at_once)
    for action, count in [*actions, ("stop", 1)]:
        perform(fixture, chime, action, count)
        # The clip of a wake is active, or it was offered or abandoned.
        not_kept = len(fixture.reasons())
        assert fixture.wakes == fixture.capture.is_active + len(fixture.clips) + not_kept
        tally = fixture.counters.tally()
        assert tally.heard_samples == (
            tally.discarded_samples + tally.sealed_samples + tally.held_samples
        )
    fixture.seal_all()

    decisions = fixture.counters.decisions
    assert [decisions[id(pending)] for pending in fixture.counters.begun] == [1] * fixture.wakes
    tally = fixture.counters.tally()
    assert (tally.sealed, tally.abandoned) == (len(fixture.clips), len(fixture.reasons()))
    assert len(fixture.buffers.free) == BUFFERS
    assert not any(buffer.any() for buffer in fixture.buffers.all)
