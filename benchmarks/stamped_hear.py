"""``earmark hear`` that writes when each of its stages begins or ends.

``python -m benchmarks.stamped_hear FILE ...``: ``FILE`` gets lines of `stage_times`. Nothing else
differs from ``earmark hear ...``. It imports nothing that hear does not: its memory is measured.
"""

import sys

from benchmarks.stage_times import ENDPOINT, START, Stamp, open_stamps, substitute
from listener.audio.clip import Clip, Recorder
from listener.audio.pcm import Frame
from listener.cli import hear as hear_command
from listener.cli.main import main
from listener.hear import gate, voice_control
from listener.hear.microphone.file import RealTimePacer
from listener.hear.open_ask import Instant, OpenAsk


def stamp_hear(stamp: Stamp) -> None:
    """Let ``earmark hear`` stamp the start of a recording and each endpoint."""

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


if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    stamp_hear(open_stamps(file))
    sys.argv[1:] = ["hear", *arguments]
    sys.exit(main())
