"""Audio source for the live microphone: an ALSA device that plays a FIFO in real time."""

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.sounds import quiet_room
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ

CARD: Final = "earmark-bench"
"""Name of the device, for ``microphone.device``."""


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Provide an ALSA device that plays a quiet room during the block.

    Args:
        folder: folder for the FIFO and for the ALSA configuration of this process.
    """
    fifo, settings = folder / "room", folder / "asoundrc"
    os.mkfifo(fifo)
    card = f'type file; slave.pcm "null"; file "/dev/null"; infile "{fifo}"; format raw'
    settings.write_text(f"</usr/share/alsa/alsa.conf>\npcm.{CARD} {{ {card} }}\n", "utf-8")
    before = os.environ.get("ALSA_CONFIG_PATH")
    os.environ["ALSA_CONFIG_PATH"] = str(settings)
    stop = threading.Event()
    feeder = threading.Thread(target=_feed, args=(fifo, stop), daemon=True)
    feeder.start()
    try:
        yield
    finally:
        stop.set()
        feeder.join()
        if before is None:
            del os.environ["ALSA_CONFIG_PATH"]
        else:
            os.environ["ALSA_CONFIG_PATH"] = before


def _feed(fifo: Path, stop: threading.Event) -> None:
    while not stop.wait(0.002):
        # Only while the device is open: audio without a reader is lost, as with a microphone.
        with contextlib.suppress(OSError):
            pipe = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            try:
                _write_frames(pipe, stop)
            finally:
                os.close(pipe)


def _write_frames(pipe: int, stop: threading.Event) -> None:
    """Write frames in real time until ``stop``.

    Raises:
        BrokenPipeError: the reader closed the FIFO.
    """
    # Whole frames: after a short read, ALSA's file plugin repeats older data.
    frames = quiet_room(10).astype("<i2").reshape(-1, FRAME_SAMPLES)
    began_s = time.monotonic()
    for count in itertools.count(1):
        due_s = began_s + count * FRAME_SAMPLES / SAMPLE_RATE_HZ
        if stop.wait(max(0.0, due_s - time.monotonic())):
            return
        os.write(pipe, frames[count % len(frames)].tobytes())
