"""Positive control of the self-test: a listener that leaks audio and must be detected.

``python -m listener.selftest.leaky_listener SOUND LOG`` reads a recording, keeps its last seconds
in a deque and an array, writes the samples to a log, encodes a clip, and then clears the deque
only. It prints one line and waits until its standard input ends.
"""

import collections
import sys
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.clip import encode_clip
from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.storage.recordings import open_recording

_KEPT_FRAMES: Final = 25


def main(sound: Path, log_to: Path) -> None:
    """Read the recording, leak it, print one line, and wait.

    Args:
        sound: recording to read.
        log_to: file for the samples.
    """
    last: collections.deque[Samples] = collections.deque(maxlen=_KEPT_FRAMES)
    window = np.zeros(0, np.float32)
    with open_recording(sound) as recording, log_to.open("wb", 0) as log:
        while (block := recording.read(FRAME_SAMPLES)) is not None:
            last.append(block.copy())
            log.write(block.tobytes())
            # Input of a feature computation: a copy that is easily overlooked.
            window = np.concatenate(last).astype(np.float32)
    clip = encode_clip(np.concatenate(last), "control")
    last.clear()
    sys.stdout.write("forgotten\n")
    sys.stdout.flush()
    sys.stdin.read()
    del window, clip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
