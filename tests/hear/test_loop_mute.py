"""Listen loop during a mute and during the chime."""

from typing import Final

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, Gap, GapReason, Sound
from listener.config import ClipSettings
from listener.hear import events
from listener.hear.indicators.chime import AFTER_S
from listener.hear.loop import Listener
from listener.ipc import notices
from listener.ipc.notices import LampState, MuteState
from listener.wakeword.detector import Wake
from tests.fakes import told
from tests.hear.pipeline_fixture import PipelineFixture

LOUD, QUIET = 5_000, 3
SOUNDS_FRAMES: Final = 8


class ShownLamp:
    """Remembers each change."""

    def __init__(self) -> None:
        self.states: list[LampState] = []

    def show(self, state: LampState) -> None:
        if self.states[-1:] != [state]:
            self.states.append(state)

    def close(self) -> None:
        pass


class CountedChime:
    """Sounds for so many questions."""

    def __init__(self) -> None:
        self.left = 0
        self.played = 0

    def play(self) -> None:
        self.played += 1
        self.left = SOUNDS_FRAMES

    @property
    def is_playing(self) -> bool:
        self.left = max(0, self.left - 1)
        return self.left > 0


class MutedPipeline(PipelineFixture):
    """Pipeline with an LED and optionally a chime."""

    def __init__(self, *wakes: Wake, with_chime: bool = False) -> None:
        super().__init__(*wakes, settings=ClipSettings(pre_roll_s=0.0 if with_chime else 1.5))
        self.lamp = ShownLamp()
        self.chime = CountedChime()
        self.causes: list[MuteState] = ["hardware"]
        self.loop = Listener(
            detector=self.detector,
            ring=self.ring,
            capture=self.build_capture(self.chime if with_chime else None),
            counters=self.counters,
            publisher=self.publisher,
            monotonic_s=lambda: self.clock_s,
            muted_by=lambda: self.causes.pop(0) if len(self.causes) > 1 else self.causes[0],
            lamp=self.lamp,
        )

    def hear(self, *sounds: Sound) -> None:
        self.loop.listen(sounds, alive=bool)
        self.sealer.close()

    def lengths(self) -> list[int]:
        """Of each clip, in samples."""
        return [
            round(event.length_s * SAMPLE_RATE_HZ)
            for event in self.events
            if isinstance(event, events.SealedEvent)
        ]


def wake_at(frame: int) -> Wake:
    return Wake("alexa", 0.9, frame * FRAME_SAMPLES, 0.5)


def frames(count: int, first: int, value: int) -> list[Frame]:
    return told(count, first * FRAME_SAMPLES, value)


def muted(frame: int) -> Gap:
    return Gap(GapReason.MUTED, frame * FRAME_SAMPLES, FRAME_SAMPLES)


def test_mute_cause_is_published_only_when_it_changes() -> None:
    pipeline = MutedPipeline()
    pipeline.causes = ["hardware", "hardware", "software", "software", "fault"]

    pipeline.hear(*[muted(at) for at in range(6)], *frames(1, 6, QUIET))

    assert [event.cause for event in pipeline.events if isinstance(event, events.MutedEvent)] == [
        "hardware",
        "software",
        "fault",
    ]
    assert pipeline.post.notices == [
        notices.MuteNotice(state="hardware"),
        notices.MuteNotice(state="software"),
        notices.MuteNotice(state="fault"),
        notices.MuteNotice(state="open"),
    ]
    assert pipeline.kinds()[-1] == "UnmutedEvent"


def test_led_follows_mute_fault_and_clip() -> None:
    pipeline = MutedPipeline(wake_at(30))
    pipeline.causes = ["software", "fault"]

    pipeline.hear(
        *frames(30, 0, QUIET),
        *frames(20, 30, LOUD),
        *frames(30, 50, QUIET),
        muted(80),
        muted(81),
        *frames(2, 82, QUIET),
    )

    assert pipeline.lamp.states == ["muted", "idle", "hearing", "idle", "muted", "fault", "idle"]


def test_lost_device_after_a_mute_ends_the_mute() -> None:
    pipeline = MutedPipeline()
    pipeline.causes = ["software", "open"]

    pipeline.hear(muted(0), Gap(GapReason.LOST, FRAME_SAMPLES, 0), *frames(1, 1, QUIET))

    assert pipeline.kinds() == ["MutedEvent", "UnmutedEvent", "InterruptedEvent"]


def test_clip_begins_after_the_chime_and_excludes_it() -> None:
    pipeline = MutedPipeline(wake_at(30), with_chime=True)
    # The chime is as loud as the speech after it; each has its own samples.
    tone = frames(SOUNDS_FRAMES + 1, 30, 7_000)
    wait = frames(4, 30 + len(tone), QUIET)
    first = 30 + len(tone) + len(wait)
    speech = frames(20, first + 2, LOUD)
    spoken = [
        *frames(30, 0, QUIET),
        *tone,
        *wait,
        *frames(2, first, QUIET),
        *speech,
        *frames(40, first + 22, QUIET),
    ]

    pipeline.hear(*spoken)

    assert pipeline.chime.played == 1
    assert pipeline.kinds() == ["WakeEvent", "SealedEvent"]
    (sealed,) = [event for event in pipeline.events if isinstance(event, events.SealedEvent)]
    begin = round(sealed.time_s * SAMPLE_RATE_HZ)
    end_of_tone = tone[-1].end_sample
    assert begin >= end_of_tone + round(AFTER_S * SAMPLE_RATE_HZ) - 2 * FRAME_SAMPLES
    sound = np.concatenate([frame.samples for frame in spoken])[
        begin : begin + pipeline.lengths()[0]
    ]
    assert 7_000 not in sound
    assert (sound == LOUD).sum() == 20 * FRAME_SAMPLES, "all that was said is there"


def test_wake_during_the_chime_plays_no_second_chime() -> None:
    pipeline = MutedPipeline(wake_at(30), wake_at(33), with_chime=True)

    pipeline.hear(*frames(100, 0, QUIET))

    assert pipeline.chime.played == 1
    assert pipeline.kinds().count("SealedEvent") == 1


@pytest.mark.parametrize(
    ("gap", "reason"),
    [
        (GapReason.MUTED, "muted"),
        (GapReason.OVERRUN, "gap"),
        (GapReason.LOST, "gap"),
        (GapReason.START, "gap"),
    ],
)
def test_gap_during_the_chime_abandons_the_clip(gap: GapReason, reason: str) -> None:
    pipeline = MutedPipeline(wake_at(30), with_chime=True)

    pipeline.hear(
        *frames(33, 0, QUIET),
        Gap(gap, 33 * FRAME_SAMPLES, FRAME_SAMPLES),
        *frames(60, 34, QUIET),
    )

    assert [
        event.reason for event in pipeline.events if isinstance(event, events.NotKeptEvent)
    ] == [reason]
    assert pipeline.lengths() == []
    tally = pipeline.counters.tally()
    assert (tally.wakes, tally.abandoned, tally.sealed_samples) == (1, 1, 0)
    assert tally.heard_samples == tally.discarded_samples


def test_led_shows_hearing_during_the_chime() -> None:
    pipeline = MutedPipeline(wake_at(10), with_chime=True)

    pipeline.hear(*frames(12, 0, QUIET))

    assert pipeline.lamp.states == ["muted", "idle", "hearing"]
