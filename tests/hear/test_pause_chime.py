"""Chime in the pause after a wake word: never in a clip, and never over a command in one breath."""

import io
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Gap, GapReason, Sound
from listener.hear import events
from listener.hear.indicators.pause_chime import PAUSE_S, START_S, PauseChime
from listener.hear.loop import Listener
from listener.wakeword.detector import Wake
from tests.fakes import told
from tests.hear.pipeline_fixture import PipelineFixture

SPEECH, QUIET = 5_000, 3
WAKE_FRAME = 30
TURN_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
SOUNDS_FRAMES = 8
"""Chime and echo, as the player announces them."""
FRAMES = 160


class Room(PipelineFixture):
    """A listen loop, a gate that makes gaps of the chime, and a player that needs permission."""

    def __init__(
        self, first_loud: int, loud: int, *, player: Literal["runs", "hangs", "missing"] = "runs"
    ) -> None:
        super().__init__(Wake("alexa", 0.9, WAKE_FRAME * FRAME_SAMPLES, 0.5))
        self._loud = range(first_loud, first_loud + loud)
        self._player = player
        self._is_requested = False
        self._sounding = 0
        self.is_permitted = False
        self.gaps = 0
        self.begun_at: list[int] = []
        """Frames at which the chime began."""
        capture = self.build_capture()
        capture._pause_chime = PauseChime(self.request, self, lambda: self.clock_s)  # noqa: SLF001 - the fixture's builder has none
        self.loop = Listener(
            detector=self.detector,
            ring=self.ring,
            capture=capture,
            counters=self.counters,
            publisher=self.publisher,
            monotonic_s=lambda: self.clock_s,
            permit_playback=self.permit,
        )

    def request(self) -> bool:
        self._is_requested = True
        return True

    def permit(self, is_permitted: bool) -> None:  # noqa: FBT001 - the loop's signature
        self.is_permitted = is_permitted

    def is_player_running(self) -> bool:
        return self._player != "missing"

    def is_sounding(self) -> bool:
        return self._sounding > 0

    def sounds(self) -> Iterator[Sound]:
        for at in range(FRAMES):
            self.clock_s = at * TURN_S
            if self._is_requested and self.is_permitted and self._player == "runs":
                self._is_requested = False
                self._sounding = SOUNDS_FRAMES
                self.begun_at.append(at)
            self._sounding = max(0, self._sounding - 1)
            if self.is_sounding():
                self.gaps += 1
                yield Gap(GapReason.PLAYBACK, at * FRAME_SAMPLES, FRAME_SAMPLES)
            else:
                yield from told(1, at * FRAME_SAMPLES, SPEECH if at in self._loud else QUIET)

    def run(self) -> None:
        self.loop.listen(self.sounds(), alive=bool)
        self.sealer.close()

    def clip(self) -> tuple[int, np.ndarray]:
        """Return the first sample of the one clip, and its samples."""
        (sealed,) = [event for event in self.events if isinstance(event, events.SealedEvent)]
        opened = self.device.open(self.spool.envelopes[0])
        with soundfile.SoundFile(io.BytesIO(opened.flac)) as file:
            return round(sealed.time_s * SAMPLE_RATE_HZ), file.read(dtype="int16")


def test_command_in_one_breath_has_no_chime_and_is_whole() -> None:
    room = Room(WAKE_FRAME - 8, 30)

    room.run()

    assert room.begun_at == []
    first, samples = room.clip()
    assert first < WAKE_FRAME * FRAME_SAMPLES, "with its pre-roll"
    assert (samples == SPEECH).sum() == 30 * FRAME_SAMPLES


def test_person_who_waits_hears_the_chime_and_the_clip_begins_after_it() -> None:
    room = Room(WAKE_FRAME + 25, 20)

    room.run()

    (begun,) = room.begun_at
    assert (begun - WAKE_FRAME) * TURN_S == pytest.approx(PAUSE_S, abs=2 * TURN_S)
    first, samples = room.clip()
    assert first >= (begun + SOUNDS_FRAMES - 1) * FRAME_SAMPLES
    assert (samples == SPEECH).sum() == 20 * FRAME_SAMPLES
    assert [event for event in room.events if isinstance(event, events.NotKeptEvent)] == []
    tally = room.counters.tally()
    assert (tally.wakes, tally.sealed, tally.abandoned) == (1, 1, 0)


def test_without_a_player_nothing_changes() -> None:
    room = Room(WAKE_FRAME + 25, 20, player="missing")

    room.run()

    first, samples = room.clip()
    assert first < WAKE_FRAME * FRAME_SAMPLES
    assert (samples == SPEECH).sum() == 20 * FRAME_SAMPLES


def test_player_that_hangs_delays_the_clip_and_loses_none() -> None:
    room = Room(WAKE_FRAME + 25, 20, player="hangs")

    room.run()

    first, samples = room.clip()
    since_s = first / SAMPLE_RATE_HZ - WAKE_FRAME * TURN_S
    # The ring buffer was not wiped, so the clip has its pre-roll.
    assert since_s <= PAUSE_S + START_S
    assert (samples == SPEECH).sum() == 20 * FRAME_SAMPLES


@settings(max_examples=60)
@given(st.integers(WAKE_FRAME - 15, WAKE_FRAME + 60), st.integers(3, 40))
def test_wake_is_decided_once_and_every_sample_counted(first_loud: int, loud: int) -> None:
    room = Room(first_loud, loud)

    room.run()

    tally = room.counters.tally()
    assert (tally.wakes, tally.sealed + tally.abandoned) == (1, 1)
    assert tally.heard_samples == (FRAMES - room.gaps) * FRAME_SAMPLES
    assert tally.heard_samples == tally.discarded_samples + tally.sealed_samples
    spoke_in_time = WAKE_FRAME - 8 <= first_loud <= WAKE_FRAME + PAUSE_S / TURN_S - 1
    if spoke_in_time and first_loud + loud > WAKE_FRAME + 6:
        assert room.begun_at == [], "the command had begun"
        _, samples = room.clip()
        assert (samples == SPEECH).sum() == loud * FRAME_SAMPLES


def test_own_sound_during_a_clip_ends_it() -> None:
    """The player plays nothing then; should it happen all the same, no clip contains it."""
    room = PipelineFixture(Wake("alexa", 0.9, WAKE_FRAME * FRAME_SAMPLES, 0.5))
    permitted: list[bool] = []
    room.loop._permit_playback = permitted.append  # noqa: SLF001 - the fixture's builder has none
    at = WAKE_FRAME + 5
    gaps = [
        Gap(GapReason.PLAYBACK, (at + number) * FRAME_SAMPLES, FRAME_SAMPLES) for number in range(3)
    ]

    room.loop.listen([*told(at, 0, SPEECH), *gaps, *told(2, (at + 3) * FRAME_SAMPLES)], alive=bool)
    room.sealer.close()

    assert room.kinds() == ["WakeEvent", "NotKeptEvent", "InterruptedEvent"]
    assert permitted.index(False) == WAKE_FRAME - 1
    assert permitted[: WAKE_FRAME - 1] == [True] * (WAKE_FRAME - 1)
    assert permitted[-1] is True


def test_muted_loop_permits_no_sound() -> None:
    room = PipelineFixture()
    permitted: list[bool] = []
    room.loop._permit_playback = permitted.append  # noqa: SLF001 - the fixture's builder has none

    room.loop.listen(
        [
            *told(1, 0, QUIET),
            Gap(GapReason.MUTED, FRAME_SAMPLES, FRAME_SAMPLES),
            Gap(GapReason.LOST, 2 * FRAME_SAMPLES, FRAME_SAMPLES),
            *told(1, 3 * FRAME_SAMPLES, QUIET),
        ],
        alive=bool,
    )

    assert permitted == [True, False, False, True]
