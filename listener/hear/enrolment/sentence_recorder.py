"""Recording of one sentence at a time, from the gate, in one locked buffer."""

from collections.abc import Callable, Generator, Iterator
from typing import Final

from listener.audio.clip import SpeechModel
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, GapReason, Samples, Sound
from listener.errors import Unavailable
from listener.hear.memory import allocate_locked
from listener.voiceprint.speech import MIN_SPEECH_SAMPLES, SPEECH_PROBABILITY

LONGEST_S: Final = 10.0
"""Longest recording of a sentence, in seconds."""
END_S: Final = 0.96
"""Silence that ends a sentence, in seconds."""

_END_FRAMES: Final = round(END_S * SAMPLE_RATE_HZ / FRAME_SAMPLES)


class SentenceRecorder:
    """Recorder of one sentence at a time. For one thread.

    Args:
        stream: opens the gate's stream of frames and gaps.
        speech: voice activity detector.
        keeps_open: False for a device, whose microphone is closed after each sentence; True for
            recordings, which go on.
        least_speech_samples: speech before the end of which a recording does not end.
    """

    def __init__(
        self,
        stream: Callable[[], Generator[Sound, None, None]],
        speech: SpeechModel,
        *,
        keeps_open: bool = False,
        least_speech_samples: int = MIN_SPEECH_SAMPLES,
    ) -> None:
        self._open = stream
        self._speech = speech
        self._keeps_open = keeps_open
        self._least_speech_samples = least_speech_samples
        self._stream: Generator[Sound, None, None] | None = None
        self._buffer = allocate_locked(round(LONGEST_S * SAMPLE_RATE_HZ))

    def record(self) -> Samples:
        """Record until the sentence ends, or for ``LONGEST_S``; then close the microphone.

        Returns:
            int16, shape (n,), a view of the buffer until `wipe` or the next call.

        Raises:
            Unavailable: the microphone is muted, or delivers no audio.
        """
        self.wipe()
        if self._stream is None:
            self._stream = self._open()
        try:
            return self._record(self._stream)
        finally:
            self._speech.reset()
            if not self._keeps_open:
                self.close()

    def close(self) -> None:
        """Close the microphone; safe to repeat."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def wipe(self) -> None:
        """Overwrite the last recording."""
        self._buffer.fill(0)

    def _record(self, stream: Iterator[Sound]) -> Samples:
        self._speech.reset()
        filled = spoken = silent_frames = 0
        for sound in stream:
            if not isinstance(sound, Frame):
                self._check(sound.reason)
                # Nothing spans a gap: the sentence starts anew.
                filled = spoken = silent_frames = 0
                self._speech.reset()
                continue
            self._buffer[filled : filled + FRAME_SAMPLES] = sound.samples
            filled += FRAME_SAMPLES
            if self._speech.probability(sound.samples) >= SPEECH_PROBABILITY:
                spoken += FRAME_SAMPLES
                silent_frames = 0
            else:
                silent_frames += 1
            is_complete = spoken >= self._least_speech_samples and silent_frames >= _END_FRAMES
            if is_complete or filled + FRAME_SAMPLES > len(self._buffer):
                return self._buffer[:filled]
        raise Unavailable("the microphone delivers no more audio")

    def _check(self, reason: GapReason) -> None:
        if reason is GapReason.MUTED:
            raise Unavailable("the microphone is muted", "move the switch, or run earmark mute off")
        if reason is GapReason.END:
            raise Unavailable("the recordings have ended", "name more of them")
