"""``earmark hear`` or ``earmark assist`` that writes when each of its stages begins or ends.

``python -m benchmarks.stamped FILE COMMAND ...``: ``FILE`` gets one line a stage, its name and the
time of CLOCK_MONOTONIC, which all processes share. Nothing else differs from ``earmark COMMAND``.
"""

import dataclasses
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from unittest import mock

from listener.assist import build
from listener.assist.recogniser import Recogniser, Recognition
from listener.assist.worker import Abilities
from listener.audio.clip import Clip, Recorder
from listener.audio.pcm import Frame, Samples, Sound
from listener.cli import assist as assist_command
from listener.cli import hear as hear_command
from listener.cli.main import main
from listener.config import AssistSettings
from listener.hear import gate, voice_control
from listener.hear.loop import Listener
from listener.hear.microphone.file import RealTimePacer
from listener.hear.open_ask import Instant, OpenAsk
from listener.hear.voiceprint.embedding_client import EmbeddingClient
from listener.hear.voiceprint.voice_attribution import VoiceAttribution
from listener.owner.attribution import AttributionResult, NoOwner

START: Final = "start"
"""The recording starts; its samples are due from here on."""
ENDPOINT: Final = "endpoint"
"""The recorder has found the end of a clip, or hear has confirmed a provisional part."""
READY: Final = "ready"
"""Assist has its recogniser and its agent."""
OPENED: Final = "opened"
"""A command copy is open and decoded; recognition begins."""
RECOGNISED: Final = "recognised"
"""Recognition has ended."""
FRAME: Final = "frame"
"""The listen loop begins to process a frame."""
STARTING: Final = "starting"
"""The embedding process is about to be started or asked."""
COMPARED: Final = "compared"
"""The comparison of a clip with the enrolled voices has ended."""

Stamp = Callable[[str], None]


def read_stamps(file: Path) -> list[tuple[str, float]]:
    """Return the stages of a file and their times, in seconds; empty without the file."""
    if not file.exists():
        return []
    lines = file.read_text("ascii").splitlines()
    return [(stage, float(at_s)) for stage, _, at_s in (line.partition(" ") for line in lines)]


def _open_stamps(file: str) -> Stamp:
    # Open before the sandbox of hear begins.
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def stamp(stage: str) -> None:
        os.write(descriptor, f"{stage} {time.monotonic()!r}\n".encode())

    return stamp


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

    mock.patch.object(gate, "RealTimePacer", StampedPacer).start()
    mock.patch.object(hear_command, "Recorder", StampedRecorder).start()
    mock.patch.object(voice_control, "OpenAsk", StampedAsk).start()


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

    mock.patch.object(hear_command, "Listener", StampedListener).start()
    mock.patch.object(hear_command, "EmbeddingClient", StampedClient).start()
    mock.patch.object(hear_command, "VoiceAttribution", StampedAttribution).start()


class _StampedRecogniser:
    """A recogniser, with the times of its calls."""

    def __init__(self, recogniser: Recogniser, stamp: Stamp) -> None:
        self._recogniser, self._stamp = recogniser, stamp

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        self._stamp(OPENED)
        found = self._recogniser.recognise(samples, word, is_final=is_final)
        self._stamp(RECOGNISED)
        return found


def _stamp_assist(stamp: Stamp) -> None:
    def build_stamped(settings: AssistSettings, home: Path) -> Abilities:
        abilities = build.build_abilities(settings, home)
        stamp(READY)
        stamped = _StampedRecogniser(abilities.recogniser, stamp)
        return dataclasses.replace(abilities, recogniser=stamped)

    mock.patch.object(assist_command, "build_abilities", build_stamped).start()


if __name__ == "__main__":
    file, *arguments = sys.argv[1:]
    if arguments[0] == "hear":
        hear_stamp = _open_stamps(file)
        _stamp_hear(hear_stamp)
        _stamp_comparisons(hear_stamp)
    else:
        _stamp_assist(_open_stamps(file))
    sys.argv[1:] = arguments
    sys.exit(main())
