"""A clip: the pre-roll, the wake word and what is said after it, up to the endpoint."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from listener.audio import flac
from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, Samples
from listener.audio.ring_buffer import Ring
from listener.config import ClipSettings

CHUNK_SAMPLES: Final = 640
"""40 ms, what the speech model judges at a time.

Silero takes any length from 30 ms on. Of 480, 512, 640 and 1280 samples, 640 told the end of 99
spoken wake words best: at most 0.36 s after the wake, where 512 took up to 1.3 s. It also divides
a frame, so nothing is left over.
"""

TAIL_S: Final = 0.4
"""Speech that ends this soon after the wake is the wake word's own tail; see CHUNK_SAMPLES."""

WARM_UP_S: Final = 0.6
"""Sound before the wake that the speech model hears first: its state starts cold."""

HOLD: Final = 0.7
"""Once there is speech, it goes on down to this part of the threshold (0.35 for 0.5, as Silero)."""


class SpeechModel(Protocol):
    """What tells speech from other sound. One stream, one thread."""

    def probability(self, samples: Samples) -> float:
        """Return the probability, 0 to 1, that the next chunk holds speech.

        Args:
            samples: int16, shape (CHUNK_SAMPLES,), following the last chunk without a hole.
        """

    def reset(self) -> None:
        """Forget everything heard, and overwrite what held it."""


class Buffers(Protocol):
    """Where the sound of clips lies while it is in the clear."""

    def take(self) -> Samples | None:
        """Return a wiped buffer of `longest_samples(settings)`, or None when all are in use."""

    def release(self, samples: Samples) -> None:
        """Wipe and take back a buffer, or the one that ``samples`` is a view of."""


class EndReason(StrEnum):
    """Why a clip ended where it did."""

    SILENCE = "silence"
    """The speaker had finished."""
    NO_SPEECH = "no-speech"
    """Nothing was said after the wake word."""
    CAP = "cap"
    """The longest clip allowed was reached."""
    END = "end"
    """The recording that was played as a microphone ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Sound that may be kept, still in the clear."""

    samples: Samples
    """int16, shape (end_sample - first_sample,); of the microphone and nothing else."""
    first_sample: int
    """Where the clip begins on the stream's line."""
    wake_sample: int
    """Where the step that woke ended."""
    end_sample: int
    """Where the clip ends on the stream's line."""
    pre_roll_samples: int
    """Sound before ``wake_sample``."""
    end_reason: EndReason
    """Why it ended."""

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ


def longest_samples(settings: ClipSettings) -> int:
    """Return how many samples the longest clip has."""
    return _samples(settings.pre_roll_s) + _samples(settings.longest_s)


def encode_clip(samples: Samples, comment: str) -> bytes:
    """Encode sound as FLAC, 16 bits, mono, 16 kHz.

    Args:
        samples: int16, shape (n,), n at least 1.
        comment: the text of its COMMENT tag.
    """
    return flac.to_flac(samples, SAMPLE_RATE_HZ, comment)


class Recorder:
    """Make one clip at a time: start at a wake, end at the endpoint.

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
        # The post-roll is kept, so it must have been heard before the end can be said.
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
        """Where the clip being made begins; its sound is held from here on."""
        return self._first_sample

    def start(self, wake_sample: int) -> bool:
        """Begin a clip with what the ring holds: the pre-roll and all that was pushed since.

        Args:
            wake_sample: where the step that woke ended; at most the ring's end.

        Returns:
            Whether there is a buffer for it.

        Raises:
            ValueError: a clip is being made already.
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
        have = self._buffer[: self._end_sample - self._first_sample]
        ring.read_into(have, self._first_sample)
        self._speech_end_sample = self._first_sample
        self._in_speech = False
        self._speech.reset()
        # Chunks are laid so that they end with the frames to come.
        warm_up = self._end_sample - self._wake_sample + _samples(WARM_UP_S)
        chunks = min(math.ceil(warm_up / CHUNK_SAMPLES), len(have) // CHUNK_SAMPLES)
        self._judged_sample = self._end_sample - chunks * CHUNK_SAMPLES
        self._listen(have[len(have) - chunks * CHUNK_SAMPLES :])
        return True

    def push(self, frame: Frame) -> Clip | None:
        """Take the next frame into the clip that is being made; without one, do nothing.

        Returns:
            The clip, when this frame ended it. Its samples lie in a buffer that whoever keeps
            the clip gives back to the `Buffers`.
        """
        if self._buffer is None:
            return None
        room = self._wake_sample + self._longest_samples - self._end_sample
        taken = frame.samples[:room]
        at = self._end_sample - self._first_sample
        self._buffer[at : at + len(taken)] = taken
        self._end_sample += len(taken)
        self._listen(frame.samples)
        since_wake = self._judged_sample - self._wake_sample
        if self._speech_end_sample > self._wake_sample + _samples(TAIL_S):
            if self._judged_sample - self._speech_end_sample >= self._hush_samples:
                return self._end(self._buffer, EndReason.SILENCE)
        elif since_wake >= self._no_speech_samples:
            return self._end(self._buffer, EndReason.NO_SPEECH)
        if since_wake >= self._longest_samples:
            return self._end(self._buffer, EndReason.CAP)
        return None

    def finish(self) -> Clip | None:
        """End the clip here because a recording ended; None when none is being made."""
        return None if self._buffer is None else self._end(self._buffer, EndReason.END)

    def abandon(self) -> None:
        """Wipe the clip that is being made; nothing of it is kept."""
        if self._buffer is not None:
            self._buffers.release(self._buffer)
            self._buffer = None
        self._speech.reset()

    def _listen(self, samples: Samples) -> None:
        """Move the end of speech on, as far as ``samples`` has some."""
        for at in range(0, len(samples), CHUNK_SAMPLES):
            probability = self._speech.probability(samples[at : at + CHUNK_SAMPLES])
            self._in_speech = probability >= self._threshold * (HOLD if self._in_speech else 1)
            self._judged_sample += CHUNK_SAMPLES
            if self._in_speech:
                self._speech_end_sample = self._judged_sample

    def _end(self, buffer: Samples, reason: EndReason) -> Clip:
        end = self._end_sample
        if reason in (EndReason.SILENCE, EndReason.NO_SPEECH):
            # What was waited for in vain is not kept.
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
