"""A room for the live microphone: a card of ALSA's that plays a FIFO at the pace of speech."""

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
"""Its name, for ``microphone.device``."""


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Be a room: a card that plays a quiet one, in its own time.

    Args:
        folder: takes the FIFO, and the settings that this process and its children read.
    """
    fifo, settings = folder / "room", folder / "asoundrc"
    os.mkfifo(fifo)
    card = f'type file; slave.pcm "null"; file "/dev/null"; infile "{fifo}"; format raw'
    settings.write_text(f"</usr/share/alsa/alsa.conf>\npcm.{CARD} {{ {card} }}\n", "utf-8")
    before = os.environ.get("ALSA_CONFIG_PATH")
    os.environ["ALSA_CONFIG_PATH"] = str(settings)
    is_over = threading.Event()
    voice = threading.Thread(target=_speak, args=(fifo, is_over), daemon=True)
    voice.start()
    try:
        yield
    finally:
        is_over.set()
        voice.join()
        if before is None:
            del os.environ["ALSA_CONFIG_PATH"]
        else:
            os.environ["ALSA_CONFIG_PATH"] = before


def _speak(fifo: Path, is_over: threading.Event) -> None:
    while not is_over.wait(0.002):
        # Only for whoever has it open: what nobody listened to is gone, as in a room.
        with contextlib.suppress(OSError):
            pipe = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            try:
                _speak_to(pipe, is_over)
            finally:
                os.close(pipe)


def _speak_to(pipe: int, is_over: threading.Event) -> None:
    """Write a frame after each frame's time, until nobody reads any more.

    Raises:
        BrokenPipeError: nobody does.
    """
    # In whole frames: with less, ALSA's file fills up what it reads with something older.
    frames = quiet_room(10).astype("<i2").reshape(-1, FRAME_SAMPLES)
    began_s = time.monotonic()
    for count in itertools.count(1):
        due_s = began_s + count * FRAME_SAMPLES / SAMPLE_RATE_HZ
        if is_over.wait(max(0.0, due_s - time.monotonic())):
            return
        os.write(pipe, frames[count % len(frames)].tobytes())
