"""``earmark hear`` that writes when each of its stages begins or ends.

``python -m benchmarks.stamped_hear FILE ...``: ``FILE`` gets lines of `stage_times`. Nothing else
differs from ``earmark hear ...``. It imports nothing that hear does not: its memory is measured.
"""

import sys

from benchmarks.stage_times import (
    COMPARED,
    ENDPOINT,
    FRAME,
    START,
    STARTING,
    Stamp,
    open_stamps,
    substitute,
)
from listener.audio.clip import Clip, Recorder
from listener.audio.pcm import Frame, Sound
from listener.cli import hear as hear_command
from listener.cli.main import main
from listener.hear import gate, voice_control
from listener.hear.loop import Listener
from listener.hear.microphone.file import RealTimePacer
from listener.hear.open_ask import Instant, OpenAsk
from listener.hear.voiceprint.embedding_client import EmbeddingClient
from listener.hear.voiceprint.voice_attribution import VoiceAttribution
from listener.owner.attribution import AttributionResult, NoOwner


def _stamp_hear(stamp: Stamp) -> None:
    class StampedPacer(RealTimePacer):
        def wait_for(self, length_samples: int) -> None:
            if self._start_s is None:
                stamp(START)
            super().wait_for(length_samples)

    class StampedRecorder(Recorder):
        def push(self, frame: Frame) -> Clip | None:
            clip = super().push(frame)
            if clip is not None:
                stamp(ENDPOINT)
            return clip

    class StampedAsk(OpenAsk):
        def confirm_part(self, now: Instant) -> int | None:
            part = super().confirm_part(now)
            if part is not None:
                stamp(ENDPOINT)
            return part

    substitute(gate, "RealTimePacer", StampedPacer)
    substitute(hear_command, "Recorder", StampedRecorder)
    substitute(voice_control, "OpenAsk", StampedAsk)


def _stamp_comparisons(stamp: Stamp) -> None:
    class StampedListener(Listener):
        def process(self, sound: Sound) -> None:
            if isinstance(sound, Frame):
                stamp(FRAME)
            super().process(sound)

    class StampedClient(EmbeddingClient):
        def start(self) -> None:
            stamp(STARTING)
            super()

    class StampedAttribution(VoiceAttribution):
        def attribute(self, clip: Clip) -> AttributionResult | NoOwner:
            stamp(STARTING)
            try:
                return super().attribute(clip)
            finally:
                stamp(COMPARED)

    substitute(hear_command, "Listener", StampedListener)
    substitute(hear_command, "EmbeddingClient", StampedClient)
    substitute(hear_command, "VoiceAttribution", StampedAttribution)


if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    hear_stamp = open_stamps(file)
    _stamp_hear(hear_stamp)
    _stamp_comparisons(hear_stamp)
    sys.argv[1:] = ["hear", *arguments]
    sys.exit(main())
