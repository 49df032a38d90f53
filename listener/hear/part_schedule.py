"""Moments of the provisional parts of one clip, and of their confirmations. Pure.

A part is due at a pause: 0.25 s after the end of speech, once for each pause, at least 0.5 s after
the part before, and at most two for each clip. The last part, at the endpoint, is none of them.
A part may be confirmed when the silence behind it has lasted longer than a pause in a sentence.
"""

from collections.abc import Callable
from typing import Final

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.voice.limits import MOST_PARTS
from listener.voice.timing import PART_INTERVAL_S

PAUSE_S: Final = 0.25
"""Silence after which a part is due, in seconds."""

CONFIRM_S: Final = 0.48
"""Silence by level after which the part of this pause may be confirmed, in seconds: longer than a
pause in a sentence. ``make early-actions`` measures it."""
CONFIRM_VAD_S: Final = 0.44
"""Silence by the voice activity detector that is necessary too, in seconds. The detector finds the
end of speech some 0.1 s late."""

_CONFIRM_SAMPLES: Final = round(CONFIRM_S * SAMPLE_RATE_HZ)
_CONFIRM_VAD_SAMPLES: Final = round(CONFIRM_VAD_S * SAMPLE_RATE_HZ)
_PAUSE_SAMPLES: Final = round(PAUSE_S * SAMPLE_RATE_HZ)
_INTERVAL_SAMPLES: Final = round(PART_INTERVAL_S * SAMPLE_RATE_HZ)


class PartSchedule:
    """Schedule of one clip. For one thread."""

    def __init__(self) -> None:
        self._count = 0
        self._last_sample = -_INTERVAL_SAMPLES
        self._last_speech_end_sample = -1

    def is_due(self, now_sample: int, speech_end_sample: int) -> bool:
        """Return whether a part is due.

        Args:
            now_sample: position in the stream, at least 0.
            speech_end_sample: position of the end of the last speech.
        """
        return (
            self._count < MOST_PARTS - 1
            and now_sample - speech_end_sample >= _PAUSE_SAMPLES
            and speech_end_sample > self._last_speech_end_sample
            and now_sample - self._last_sample >= _INTERVAL_SAMPLES
        )

    def note(self, now_sample: int, speech_end_sample: int) -> None:
        """Note that a part was ordered; the arguments are those of `is_due`."""
        self._count += 1
        self._last_sample, self._last_speech_end_sample = now_sample, speech_end_sample

    def may_confirm(
        self, now_sample: int, speech_end_sample: int, silence_samples: Callable[[], int]
    ) -> bool:
        """Return whether the last part may be confirmed: nothing was said since its pause began.

        Args:
            now_sample: as for `is_due`.
            speech_end_sample: as for `is_due`.
            silence_samples: returns the length of the silence at the end of the clip, by its level;
                called last.
        """
        return (
            self._count > 0
            and speech_end_sample == self._last_speech_end_sample
            and now_sample - speech_end_sample >= _CONFIRM_VAD_SAMPLES
            and silence_samples() >= _CONFIRM_SAMPLES
        )
