"""Clips: pre-roll, wake word and the speech after it, up to the endpoint."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from listener.audio import flac
from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Samples
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings

CHUNK_SAMPLES: Final = 640
"""Samples of a speech probability: 40 ms, half of a frame. The network takes 512 at a time, so that
a chunk completes one or two of its steps."""

TAIL_S: Final = 0.4
"""Speech that ends within this time after the wake belongs to the word."""

WARM_UP_S: Final = 0.6
"""Audio before the wake with which the state of the speech model is initialised."""

HOLD: Final = 0.7
"""Hysteresis: speech continues down to this part of the threshold (0.35 for 0.5, as in Silero)."""


class SpeechModel(Protocol):
    """A voice activity detector for one stream. Used by one thread at a time."""

    def probability(self, samples: Samples) -> float:
        """Return the probability of speech in the next chunk, 0 to 1.

        Args:
            samples: int16, shape (CHUNK_SAMPLES,), following the previous chunk without a gap.
        """

    def reset(self) -> None:
        """Overwrite the state and start anew."""


class Buffers(Protocol):
    """Memory for the plaintext audio of clips."""

    def take(self) -> Samples | None:
        """Return a zeroed buffer of `longest_samples(settings)`; None if all are in use."""

    def release(self, samples: Samples) -> None:
        """Overwrite and take back a buffer, or the one that ``samples`` is a view of."""


class EndReason(StrEnum):
    """Reason for the end of a clip."""

    SILENCE = "silence"
    """Silence after speech."""
    NO_SPEECH = "no-speech"
    """No speech after the wake word."""
    CAP = "cap"
    """Maximum length."""
    END = "end"
    """End of the recording that replaces the microphone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The plaintext audio of a clip."""

    samples: Samples
    """int16, shape (end_sample - first_sample,)."""
    first_sample: int
    """Position of the first sample."""
    wake_sample: int
    """End of the step that made the wake."""
    end_sample: int
    """Position after the last sample."""
    pre_roll_samples: int
    """Samples before ``wake_sample``."""
    end_reason: EndReason
    """Reason for the end."""

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ


def longest_samples(settings: ClipSettings) -> int:
    """Return the length of the longest clip, in samples."""
    return _samples(settings.pre_roll_s) + _samples(settings.longest_s)


def encode_clip(samples: Samples, comment: str) -> bytes:
    """Encode samples as FLAC, 16 bits, mono, 16 kHz.

    Args:
        samples: int16, shape (n,), n at least 1.
        comment: text of the COMMENT tag.
    """
    return flac.to_flac(samples, SAMPLE_RATE_HZ, comment)


class Recorder:
    """Recorder of one clip at a time, from a wake to the endpoint.

    A wake during a recording is part of that clip. Not safe for use by several threads.
    """

    def __init__(
        self, ring: Ring, speech: SpeechModel, settings: ClipSettings, buffers: Buffers
    ) -> None:
        self._ring = ring
        self._speech = speech
        self._buffers = buffers
        self._pre_roll_samples = _samples(settings.pre_roll_s)
        self._post_roll_samples = _samples(settings.post_roll_s)
        # The post-roll is part of the clip, so the endpoint cannot be earlier than its end.
        self._hush_samples = _samples(max(settings.silence_s, settings.post_roll_s))
        self._no_speech_samples = _samples(settings.no_speech_s)
        self._longest_samples = _samples(settings.longest_s)
        self._threshold = settings.speech_threshold
        self._buffer: Samples | None = None
        self._first_sample = 0
        self._wake_sample = 0
        self._end_sample = 0
        self._judged_sample = 0
        self._speech_end_sample = 0
        self._in_speech = False

    @property
    def is_recording(self) -> bool:
        """True between a wake and the end of its clip."""
        return self._buffer is not None

    @property
    def first_sample(self) -> int:
        """Position of the first sample of the clip that is being recorded."""
        return self._first_sample

    @property
    def has_speech(self) -> bool:
        """True once the clip that is being recorded holds speech after the wake word."""
        return self._speech_end_sample > self._wake_sample + _samples(TAIL_S)

    @property
    def speech_end_sample(self) -> int:
        """Position of the end of the last speech of the clip that is being recorded."""
        return self._speech_end_sample

    def copy_into(self, out: Samples) -> Clip:
        """Copy the clip that is being recorded, as far as it is; the recording continues.

        Args:
            out: int16, shape (`longest_samples`,); the clip is a view of it.

        Raises:
            ValueError: no clip is being recorded.
        """
        if self._buffer is None:
            raise ValueError("no clip is being recorded")
        samples = out[: self._end_sample - self._first_sample]
        samples[...] = self._buffer[: len(samples)]
        samples.flags.writeable = False
        return Clip(
            samples=samples,
            first_sample=self._first_sample,
            wake_sample=self._wake_sample,
            end_sample=self._end_sample,
            pre_roll_samples=self._wake_sample - self._first_sample,
            end_reason=EndReason.SILENCE,
        )

    def start(self, wake_sample: int) -> bool:
        """Start a clip with the content of the ring buffer: the pre-roll and everything after it.

        Args:
            wake_sample: end of the step that made the wake; at most the end of the ring buffer.

        Returns:
            False if no buffer is free; no clip is recorded then.

        Raises:
            ValueError: a clip is already being recorded.
        """
        if self._buffer is not None:
            raise ValueError("a clip is already being recorded")
        self._buffer = self._buffers.take()
        if self._buffer is None:
            return False
        ring = self._ring
        self._wake_sample = max(wake_sample, ring.first_sample)
        self._first_sample = max(ring.first_sample, self._wake_sample - self._pre_roll_samples)
        self._end_sample = min(ring.end_sample, self._wake_sample + self._longest_samples)
        recorded = self._buffer[: self._end_sample - self._first_sample]
        ring.read_into(recorded, self._first_sample)
        self._speech_end_sample = self._first_sample
        self._in_speech = False
        self._speech.reset()
        # Chunks are aligned so that a chunk ends with each following frame.
        warm_up = self._end_sample - self._wake_sample + _samples(WARM_UP_S)
        chunks = min(math.ceil(warm_up / CHUNK_SAMPLES), len(recorded) // CHUNK_SAMPLES)
        self._judged_sample = self._end_sample - chunks * CHUNK_SAMPLES
        self._listen(recorded[len(recorded) - chunks * CHUNK_SAMPLES :])
        return True

    def push(self, frame: Frame) -> Clip | None:
        """Add the next frame to the clip that is being recorded, if any.

        Returns:
            The clip, if this frame ended it. The caller releases its samples to the `Buffers`.
        """
        if self._buffer is None:
            return None
        room = self._wake_sample + self._longest_samples - self._end_sample
        samples = frame.samples[:room]
        start = self._end_sample - self._first_sample
        self._buffer[start : start + len(samples)] = samples
        self._end_sample += len(samples)
        self._listen(frame.samples)
        since_wake = self._judged_sample - self._wake_sample
        if self.has_speech:
            if self._judged_sample - self._speech_end_sample >= self._hush_samples:
                return self._end(self._buffer, EndReason.SILENCE)
        elif since_wake >= self._no_speech_samples:
            return self._end(self._buffer, EndReason.NO_SPEECH)
        if since_wake >= self._longest_samples:
            return self._end(self._buffer, EndReason.CAP)
        return None

    def finish(self) -> Clip | None:
        """End the clip at the end of the recording; return None if there is no clip."""
        return None if self._buffer is None else self._end(self._buffer, EndReason.END)

    def abandon(self) -> None:
        """Overwrite and discard the clip that is being recorded."""
        if self._buffer is not None:
            self._buffers.release(self._buffer)
            self._buffer = None
        self._speech.reset()

    def _listen(self, samples: Samples) -> None:
        """Update the end of speech from whole chunks."""
        for at in range(0, len(samples), CHUNK_SAMPLES):
            probability = self._speech.probability(samples[at : at + CHUNK_SAMPLES])
            self._in_speech = probability >= self._threshold * (HOLD if self._in_speech else 1)
            self._judged_sample += CHUNK_SAMPLES
            if self._in_speech:
                self._speech_end_sample = self._judged_sample

    def _end(self, buffer: Samples, reason: EndReason) -> Clip:
        end = self._end_sample
        if reason in (EndReason.SILENCE, EndReason.NO_SPEECH):
            # The silence that was waited for is cut off.
            spoken_until = max(self._speech_end_sample, self._wake_sample)
            end = min(end, spoken_until + self._post_roll_samples)
        samples = buffer[: end - self._first_sample]
        samples.flags.writeable = False
        self._buffer = None
        self._speech.reset()
        return Clip(
            samples=samples,
            first_sample=self._first_sample,
            wake_sample=self._wake_sample,
            end_sample=end,
            pre_roll_samples=self._wake_sample - self._first_sample,
            end_reason=reason,
        )


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)
