"""``earmark hear`` in a voice mode that writes when each frame and each comparison begins or ends.

``python -m benchmarks.stamped_comparison FILE ...``: ``FILE`` gets lines of `stage_times`, those of
`stamped_hear` among them. Nothing else differs from ``earmark hear ...``.
"""

import sys

from benchmarks.stage_times import COMPARED, FRAME, STARTING, Stamp, open_stamps, substitute
from benchmarks.stamped_hear import stamp_hear
from listener.audio.clip import Clip
from listener.audio.pcm import Frame, Sound
from listener.cli import hear as hear_command
from listener.cli.main import main
from listener.hear.loop import Listener
from listener.hear.voiceprint import voice_mode
from listener.hear.voiceprint.embedding_client import EmbeddingClient
from listener.hear.voiceprint.voice_attribution import VoiceAttribution
from listener.owner.attribution import AttributionResult, NoOwner


def _stamp_comparisons(stamp: Stamp) -> None:
    class StampedListener(Listener):
        def process(self, sound: Sound) -> None:
            if isinstance(sound, Frame):
                stamp(FRAME)
            super().process(sound)

    class StampedClient(EmbeddingClient):
        def start(self) -> None:
            stamp(STARTING)
            super().start()

    class StampedAttribution(VoiceAttribution):
        def attribute(self, clip: Clip) -> AttributionResult | NoOwner:
            stamp(STARTING)
            try:
                return super().attribute(clip)
            finally:
                stamp(COMPARED)

    substitute(hear_command, "Listener", StampedListener)
    substitute(voice_mode, "EmbeddingClient", StampedClient)
    substitute(voice_mode, "VoiceAttribution", StampedAttribution)


if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    hear_stamp = open_stamps(file)
    stamp_hear(hear_stamp)
    _stamp_comparisons(hear_stamp)
    sys.argv[1:] = ["hear", *arguments]
    sys.exit(main())
