"""State machine of a clip: wake, chime, recording, then a clip for the sealer or none.

```
            wake, no chime
idle ────────────────────────────────► recording ── endpoint ──► offered to the sealer ──► idle
  │                                        ▲   │  │
  └── wake ──► waiting for the chime ──────┘   │  └── gap, mute, stop ──► abandoned ───────► idle
                    │  ▲ chime over            │
                    │  └────── no speech: chime in the pause
                    └── gap, mute, stop, no free buffer ──► abandoned ──────────────────────► idle
```

At most one clip is captured at a time, and every wake that begins one is decided exactly once: the
clip is offered to the sealer, or the wake is counted as abandoned and a `NotKeptEvent` says why.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from listener.audio.clip import Clip, Recorder
from listener.audio.level import SILENCE_DBFS, level_dbfs
from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Samples
from listener.hear.command_sealer import CommandOrder
from listener.hear.counters import ClipOutcome, Counters, PendingClip
from listener.hear.events import Event, NotKeptEvent
from listener.hear.indicators.chime import AFTER_S, Chime
from listener.hear.indicators.pause_chime import PAUSE_S, PauseChime
from listener.hear.part_schedule import PartSchedule
from listener.hear.sealer import CapturedClip
from listener.hear.trailing_silence import TrailingSilence
from listener.wakeword.detector import Wake

_LEVEL_FRAMES: Final = 12
"""Frames of a wake's level: about the length of a wake word."""


class VoiceAsks(Protocol):
    """Voice control at a wake and at its endpoint; see `voice_control.VoiceControl`."""

    @property
    def is_on(self) -> bool:
        """Whether wakes are asked about."""

    def ask(self, level_dbfs: float, since_s: float) -> None:
        """Ask for a key at a wake."""

    def order(self, clip: Clip) -> CommandOrder | None:
        """Return the order for a clip's command copy at its endpoint; None if there is none."""

    def order_part(self) -> CommandOrder | None:
        """Return the order for a provisional part of the clip; None if there is none."""

    def confirm_part(self) -> None:
        """Tell assist that silence followed the last provisional part."""

    def abandon(self) -> None:
        """End the ask of a clip that ended without an endpoint."""


class PartSink(Protocol):
    """Destination of provisional parts; see `sealer.Sealer`."""

    def take_part_buffer(self) -> Samples | None:
        """Return a buffer for one part; None while another part is being sealed."""

    def offer_part(self, clip: Clip, word: str, command: CommandOrder) -> None:
        """Take a part, whose samples are a view of the buffer."""

    def release_part_buffer(self, samples: Samples) -> None:
        """Take back a buffer that is not used."""


class ClipSink(Protocol):
    """Destination of finished clips; see `sealer.Sealer`."""

    def offer(self, capture: CapturedClip) -> None:
        """Take a clip, or decide in the counters why it is not kept."""

    def wipe(self) -> None:
        """Wipe and abandon every clip that is not encrypted yet."""

    def expire(self) -> None:
        """Wipe and count as lost every clip that waits too long for its encryption."""


@dataclass(slots=True)
class _ChimeWait:
    """A wake whose clip begins after the chime."""

    wake: Wake
    chime: Chime | PauseChime
    after_s: float
    """Time from the end of the chime to the begin of the clip, in seconds."""
    begin_sample: int | None = None
    """First sample that the clip may hold; None while the chime sounds."""


@dataclass(frozen=True, slots=True)
class _Recording:
    """A wake whose clip is being recorded."""

    wake: Wake
    pending: PendingClip
    is_after_chime: bool = False
    parts: PartSchedule = field(default_factory=PartSchedule)
    silence: TrailingSilence = field(default_factory=TrailingSilence)


class ClipCapture:
    """The clip of one wake at a time. For the thread of the listen loop only."""

    def __init__(  # noqa: PLR0913 - the recorder, its three outputs, and what labels a clip
        self,
        *,
        recorder: Recorder,
        sealer: ClipSink,
        counters: Counters,
        publish: Callable[[Event], object],
        models: Mapping[str, str],
        now: Callable[[], datetime],
        chime: Chime | None = None,
        pause_chime: PauseChime | None = None,
        voice: VoiceAsks | None = None,
        parts: PartSink | None = None,
        prepare: Callable[[], object] = bool,
    ) -> None:
        """Start without a clip.

        Args:
            recorder: copies the clip from the ring buffer and finds its endpoint.
            sealer: takes finished clips.
            counters: hold the clip's samples until its outcome is set.
            publish: takes a `NotKeptEvent` for each wake after which no clip was finished.
            models: SHA-256 of the model file, by wake word.
            now: wall clock with time zone; called once per finished clip.
            chime: played at a wake. The clip then begins after it, so the recorder must be
                configured without a pre-roll.
            pause_chime: played where nothing is said after the wake word; the clip begins again
                after it.
            voice: asks at each wake that begins a clip; None where there is no voice control.
            parts: takes provisional parts; None where there are none.
            prepare: called at each wake that begins a clip, so that its attribution is ready.
        """
        self._prepare = prepare
        self._recorder = recorder
        self._sealer = sealer
        self._counters = counters
        self._publish = publish
        self._models = models
        self._now = now
        self._chime = chime
        self._pause_chime = pause_chime
        self._voice = voice
        self._parts = parts
        self._levels: deque[float] = deque(maxlen=_LEVEL_FRAMES)
        self._state: _ChimeWait | _Recording | None = None
        self._position_samples = 0

    @property
    def is_active(self) -> bool:
        """True from a wake until its clip is finished or abandoned."""
        return self._state is not None

    @property
    def is_recording(self) -> bool:
        """True while a clip is being recorded."""
        return isinstance(self._state, _Recording)

    @property
    def is_before_clip(self) -> bool:
        """True from a wake until its chime has ended and its clip begins."""
        return isinstance(self._state, _ChimeWait)

    @property
    def is_chime_playing(self) -> bool:
        """True from a wake until the first `push` at which its chime has ended."""
        return isinstance(self._state, _ChimeWait) and self._state.begin_sample is None

    def push(self, frame: Frame) -> None:
        """Record a frame; finish the clip at its endpoint, or begin it after the chime.

        Args:
            frame: the newest frame, already in the ring buffer and in the counters.
        """
        self._position_samples = frame.end_sample
        if self._voice is not None and self._voice.is_on:
            self._levels.append(level_dbfs(frame.samples))
        clip = self._recorder.push(frame)
        if clip is not None:
            self._offer(clip)
        self._offer_part(frame)
        self._confirm_part(frame)
        self._chime_in_pause(frame)
        self._begin_after_chime(frame)

    def start(self, wake: Wake) -> None:
        """Play the chime, or begin the clip at once where there is no chime.

        A wake while another clip is active belongs to that clip, and changes nothing.

        Args:
            wake: found in the frame that was pushed last.
        """
        if self._state is not None:
            return
        self._prepare()
        if self._chime is None:
            self._record(wake, wake.end_sample)
        else:
            self._chime.play()
            self._state = _ChimeWait(wake, self._chime, AFTER_S)
        if self._voice is not None and self.is_active:
            since_s = (self._position_samples - wake.end_sample) / SAMPLE_RATE_HZ
            self._voice.ask(max(self._levels, default=SILENCE_DBFS), since_s)

    def finish(self) -> None:
        """Finish the clip here: a recording that was played to its end holds all speech.

        A clip that still waits for the chime is abandoned.
        """
        clip = self._recorder.finish()
        if clip is not None:
            self._offer(clip)
        self.abandon("gap")

    def abandon(self, reason: Literal["muted", "gap", "stopped"]) -> None:
        """Wipe the clip that is active, and reset the recorder in any case."""
        self._recorder.abandon()
        self._levels.clear()
        state, self._state = self._state, None
        if state is not None and self._voice is not None:
            self._voice.abandon()
        match state:
            case _ChimeWait(wake=wake):
                self._drop_wake(wake.end_sample, reason)
            case _Recording(pending=pending):
                self._set_abandoned(pending, reason)
            case None:
                pass

    def wipe(self) -> None:
        """Wipe every clip that is not encrypted yet, here and in the sealer: mute began."""
        self.abandon("muted")
        self._sealer.wipe()

    def expire(self) -> None:
        """Wipe what the sealer cannot encrypt in time; to be called in every turn of the loop."""
        self._sealer.expire()

    def _offer_part(self, frame: Frame) -> None:
        """Order a provisional part in a pause of the clip, where the configuration has them."""
        state, recorder = self._state, self._recorder
        if (
            self._parts is None
            or self._voice is None
            or not isinstance(state, _Recording)
            or not recorder.has_speech
            or not state.parts.is_due(frame.end_sample, recorder.speech_end_sample)
            or (buffer := self._parts.take_part_buffer()) is None
        ):
            return
        command = self._voice.order_part()
        if command is None:
            self._parts.release_part_buffer(buffer)
            return
        state.parts.note(frame.end_sample, recorder.speech_end_sample)
        self._parts.offer_part(recorder.copy_into(buffer), state.wake.word, command)

    def _confirm_part(self, frame: Frame) -> None:
        """Confirm the last provisional part, if silence has followed it for long enough."""
        state, recorder = self._state, self._recorder
        if self._parts is None or self._voice is None or not isinstance(state, _Recording):
            return
        state.silence.push(frame.samples)
        if recorder.has_speech and state.parts.may_confirm(
            frame.end_sample, recorder.speech_end_sample, state.silence.measure_samples
        ):
            self._voice.confirm_part()

    def _chime_in_pause(self, frame: Frame) -> None:
        """Play the chime and begin the clip again, if nothing was said since the wake word."""
        state = self._state
        if (
            self._pause_chime is None
            or not isinstance(state, _Recording)
            or state.is_after_chime
            or frame.end_sample - state.wake.end_sample < round(PAUSE_S * SAMPLE_RATE_HZ)
        ):
            return
        if not self._recorder.has_speech and self._pause_chime.start():
            self._recorder.abandon()
            self._counters.release_clip(state.pending)
            # The player announces the end of the chime after its echo.
            self._state = _ChimeWait(state.wake, self._pause_chime, 0.0)
            return
        self._state = replace(state, is_after_chime=True)

    def _begin_after_chime(self, frame: Frame) -> None:
        """Begin the clip with the first frame that holds nothing of the chime."""
        state = self._state
        if not isinstance(state, _ChimeWait) or state.chime.is_playing:
            return
        if state.begin_sample is None:
            state.begin_sample = frame.end_sample + round(state.after_s * SAMPLE_RATE_HZ)
        if frame.first_sample >= state.begin_sample:
            self._state = None
            self._record(state.wake, frame.first_sample, is_after_chime=True)

    def _record(self, wake: Wake, at_sample: int, *, is_after_chime: bool = False) -> None:
        if self._recorder.start(at_sample):
            pending = self._counters.begin_clip(self._recorder.first_sample)
            self._state = _Recording(wake, pending, is_after_chime)
            return
        self._drop_wake(at_sample, "busy")
        if self._voice is not None:
            self._voice.abandon()  # it was asked about before the chime

    def _offer(self, clip: Clip) -> None:
        state, self._state = self._state, None
        if not isinstance(state, _Recording):
            raise RuntimeError("the recorder returned a clip without a wake")  # noqa: TRY004 - a state
        self._counters.end_clip(state.pending, clip.end_sample)
        age_s = (self._position_samples - clip.first_sample) / SAMPLE_RATE_HZ
        command = None if self._voice is None else self._voice.order(clip)
        self._sealer.offer(
            CapturedClip(
                clip=clip,
                word=state.wake.word,
                model_sha256=self._models[state.wake.word],
                score=state.wake.score,
                began=self._now() - timedelta(seconds=age_s),
                pending=state.pending,
                command=command,
            )
        )

    def _drop_wake(
        self, at_sample: int, reason: Literal["busy", "muted", "gap", "stopped"]
    ) -> None:
        """Count a wake after which no clip began."""
        self._set_abandoned(self._counters.begin_clip(at_sample), reason)

    def _set_abandoned(
        self, pending: PendingClip, reason: Literal["busy", "muted", "gap", "stopped"]
    ) -> None:
        self._counters.set_outcome(pending, ClipOutcome.ABANDONED)
        self._publish(NotKeptEvent(time_s=pending.first_sample / SAMPLE_RATE_HZ, reason=reason))
