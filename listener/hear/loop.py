"""Listen loop: counts each frame, detects wake words, captures clips, and reports mute and gaps."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Gap, GapReason, Sound
from listener.audio.ring_buffer import Ring
from listener.hear import events
from listener.hear.clip_capture import ClipCapture
from listener.hear.counters import Counters
from listener.hear.indicators.led import Lamp, NoLamp
from listener.hear.publisher import EventPublisher
from listener.ipc.notices import LampState, MuteState
from listener.wakeword.detector import NearMiss, Wake

COUNT_EVERY_S: Final = 60.0
"""Interval of the signed counters, in seconds."""


class WakeDetector(Protocol):
    """Detector of wake words; see `wakeword.detector.StreamDetector`."""

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        """Take the next frame, or the gap before it; return the detections, oldest first."""


class VoiceTurns(Protocol):
    """Voice control in each turn of the loop; see `voice_control.VoiceControl`."""

    @property
    def lamp_state(self) -> LampState | None:
        """State that the LED shows for a moment after a command; None for no such state."""

    def turn(self, position_s: float) -> None:
        """Process results and messages."""

    def set_muted(self, *, is_muted: bool) -> None:
        """State whether the microphone is muted."""


class Listener:
    """The listen loop and its state between two frames or gaps. For one thread only."""

    def __init__(  # noqa: PLR0913 - the parts of the pipeline meet here
        self,
        *,
        detector: WakeDetector,
        ring: Ring,
        capture: ClipCapture,
        counters: Counters,
        publisher: EventPublisher,
        monotonic_s: Callable[[], float],
        muted_by: Callable[[], MuteState] = lambda: "hardware",
        lamp: Lamp | None = None,
        voice: VoiceTurns | None = None,
        permit_playback: Callable[[bool], object] = bool,
        counts_voices: bool = False,
    ) -> None:
        """Connect the parts of the pipeline.

        Args:
            detector: finds wakes and near misses.
            ring: ring buffer that holds the last seconds of audio.
            capture: makes the clip after a wake, from the same ring buffer.
            counters: count every sample, wake and clip.
            publisher: publishes events and signed counters.
            monotonic_s: monotonic clock, in seconds.
            muted_by: returns the cause of the mute; called only at a gap.
            lamp: LED that shows `lamp_state`; None for a speaker without an LED.
            voice: voice control; None where there is none.
            permit_playback: called after each frame or gap: whether this device's loudspeaker may
                sound now.
            counts_voices: whether voices without an owner are counted.
        """
        self._counts_voices = counts_voices
        self._detector = detector
        self._ring = ring
        self._capture = capture
        self._counters = counters
        self._publisher = publisher
        self._monotonic_s = monotonic_s
        self._counted_s = monotonic_s()
        self._muted_by = muted_by
        self._lamp = lamp or NoLamp()
        self._voice = voice
        self._permit_playback = permit_playback
        self._muted_since: int | None = None
        self._mute: MuteState = "open"
        self._last_gap: GapReason | None = None

    @property
    def lamp_state(self) -> LampState:
        """State that the LED shows: a fault before a mute, a clip, and the end of a command."""
        if self._mute == "fault":
            return "fault"
        if self._muted_since is not None:
            return "muted"
        if self._capture.is_active:
            return "hearing"
        return (None if self._voice is None else self._voice.lamp_state) or "idle"

    def listen(self, sounds: Iterable[Sound], alive: Callable[[], object]) -> None:
        """Process frames and gaps until ``sounds`` ends; then wipe all audio that is not encrypted.

        Clips that were offered to the sealer before the end are still sealed.

        Args:
            sounds: frames and gaps from the gate; a frame's samples are read only until the next
                frame or gap is requested.
            alive: called once per frame or gap, for the watchdog.
        """
        self._lamp.show("muted")  # until the mute switch has been read
        for sound in sounds:
            alive()
            self.process(sound)
        self._capture.abandon("stopped")
        self._ring.wipe()
        self._counters.count_wipe()

    def process(self, sound: Sound) -> None:
        """Process one frame or gap."""
        self._capture.expire()
        if self._voice is not None:
            # Before the audio: it may hold the endpoint, after which no answer counts.
            self._voice.set_muted(is_muted=_is_muted(sound))
            self._voice.turn(sound.first_sample / SAMPLE_RATE_HZ)
        if isinstance(sound, Frame):
            self._report_unmute(sound.first_sample)
            self._last_gap = None
            self._process_frame(sound)
        else:
            self._process_gap(sound)
        self._permit_playback(self._muted_since is None and not self._capture.is_recording)
        self._lamp.show(self.lamp_state)
        now_s = self._monotonic_s()
        if now_s - self._counted_s >= COUNT_EVERY_S:
            self._counted_s = now_s
            voices = self._counters.voices() if self._counts_voices else None
            self._publisher.send_counters(self._counters.tally(), voices)

    def _process_frame(self, frame: Frame) -> None:
        self._ring.push(frame)
        self._counters.count_frame(frame, self._ring.first_sample)
        self._capture.push(frame)
        if self._capture.is_chime_playing:
            frame = replace(frame, has_own_sound=True)
        for detection in self._detector.push(frame):
            time_s = detection.end_sample / SAMPLE_RATE_HZ
            if isinstance(detection, Wake):
                self._counters.count_wake()
                self._publisher.publish(
                    events.WakeEvent(time_s=time_s, word=detection.word, score=detection.score)
                )
                self._capture.start(detection)
            else:
                self._counters.count_near_miss()
                self._publisher.publish(
                    events.NearMissEvent(time_s=time_s, word=detection.word, score=detection.score)
                )

    def _process_gap(self, gap: Gap) -> None:
        if gap.reason in (GapReason.LOST, GapReason.PLAYBACK) and self._muted_by() == "open":
            # There is no audio, and the mute switch is not the cause.
            self._report_unmute(gap.first_sample)
        if gap.reason is GapReason.MUTED:
            if self._muted_since is not None:
                self._counters.count_gap(gap)  # The mute goes on: all audio is wiped already.
                self._report_mute(gap.first_sample)
                return
            self._capture.wipe()
        elif gap.reason is self._last_gap and gap.reason in (GapReason.LOST, GapReason.PLAYBACK):
            self._counters.count_gap(gap)
            return
        elif gap.reason in (GapReason.START, GapReason.END):
            self._capture.finish()
        elif not (gap.reason is GapReason.PLAYBACK and self._capture.is_before_clip):
            # The chime is a gap too; the clip of its wake begins behind it.
            self._capture.abandon("gap")
        self._ring.wipe()
        self._detector.push(gap)
        self._counters.count_gap(gap)
        self._last_gap = gap.reason
        since = gap.first_sample + gap.cut_samples
        if gap.reason is GapReason.MUTED:
            self._muted_since = since
            self._report_mute(since)
            return
        if gap.reason is not GapReason.END:
            self._publisher.publish(
                events.InterruptedEvent(time_s=since / SAMPLE_RATE_HZ, reason=gap.reason)
            )

    def _report_mute(self, at_sample: int) -> None:
        """Publish the cause of the mute if it has changed."""
        mute = self._muted_by()
        cause = "hardware" if mute == "open" else mute
        if cause != self._mute:
            self._mute = cause
            self._publisher.publish(
                events.MutedEvent(time_s=at_sample / SAMPLE_RATE_HZ, cause=cause)
            )

    def _report_unmute(self, at_sample: int) -> None:
        """Publish the end of the mute, if there was one."""
        if self._muted_since is None:
            return
        muted_s = (at_sample - self._muted_since) / SAMPLE_RATE_HZ
        self._muted_since, self._mute = None, "open"
        self._publisher.publish(
            events.UnmutedEvent(time_s=at_sample / SAMPLE_RATE_HZ, muted_s=max(0.0, muted_s))
        )


def _is_muted(sound: Sound) -> bool:
    return isinstance(sound, Gap) and sound.reason is GapReason.MUTED
