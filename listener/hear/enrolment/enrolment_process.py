"""Enrolment process: records sentences and answers with their embeddings; run with ``python -m``.

A separate process, confined as hear is: a process that reads sound has no network. It reads the
configuration from the first line of standard input, as JSON, and then records one sentence for each
further line. It answers with one line of JSON: levels and embeddings. No sample leaves it, and
each recording is overwritten before its answer is written.
"""

import os
import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from listener import config
from listener.audio.pcm import Sound
from listener.errors import EarmarkError, Unavailable
from listener.hear.enrolment.sentence_recorder import SentenceRecorder
from listener.hear.enrolment.sentence_reply import SentenceReply, encode_reply, make_reply
from listener.hear.events import CAUSES, MicrophoneLostEvent, MicrophoneOpenEvent
from listener.hear.gate import open_gate
from listener.hear.hardware import build_mute, landlock_paths
from listener.hear.mute.controller import MuteController
from listener.hear.mute.no_requests import NoRequests
from listener.hear.probe.microphone import HINTS
from listener.hear.seccomp import apply_sandbox
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.ipc import hear_locks
from listener.system.malloc import overwrite_freed_memory, use_single_malloc_arena
from listener.system.memory_lock import lock_all_memory
from listener.system.systemd import StopSignal
from listener.voiceprint.enrolment import assess_recording, detect_speech, embed_sentence
from listener.voiceprint.speech import MIN_SPEECH_SAMPLES

_LONGEST_CONFIG_BYTES: Final = 1 << 20


class EnrolmentMicrophone:
    """The microphone of an enrolment, through hear's gate and mute. For one thread.

    Args:
        settings: device or recordings, and the mute switch.
        mute: the mute controller.
    """

    def __init__(self, settings: config.Config, mute: MuteController) -> None:
        self._settings = settings
        self._mute = mute
        self._lost: MicrophoneLostEvent | None = None

    def open(self) -> Generator[Sound, None, None]:
        """Yield frames and gaps; end when the device is lost.

        Raises:
            Unavailable: the device is missing, busy or lost.
        """
        stop = StopSignal()
        self._lost = None

        def note(event: MicrophoneOpenEvent | MicrophoneLostEvent) -> None:
            if isinstance(event, MicrophoneLostEvent):
                self._lost = event
                stop.request()

        # `earmark mute` waits for this microphone too. Nothing is created here.
        home = Path(self._settings.home)
        can_lock = os.access(home / hear_locks.FILE, os.R_OK)
        gate = open_gate(
            self._settings.microphone,
            self._mute,
            stop,
            note,
            is_fast=True,
            lock=partial(hear_locks.lock_microphone, home) if can_lock else None,
        )
        yield from gate.stream()
        if self._lost is not None:
            cause = self._lost.cause
            raise Unavailable(f"the microphone: {CAUSES[cause]}", HINTS.get(cause, ""))


def main() -> int:
    """Answer each line of standard input; return 0 at its end, or the exit code of an error."""
    settings = read_configuration()
    try:
        _serve(settings)
    except EarmarkError as error:
        _write(SentenceReply(error=str(error), hint=error.hint))
        return error.exit_code
    return 0


def confine(settings: config.Config) -> None:
    """Confine this process as hear is: no network, no files but those that it needs.

    Raises:
        ConfigError: the sandbox is required and cannot be applied.
    """
    apply_sandbox(landlock_paths(settings), is_required=settings.device.confinement == "required")
    use_single_malloc_arena()
    overwrite_freed_memory()
    lock_all_memory()


def build_recorder(
    settings: config.Config, speech: SpeechNet, least_speech_samples: int = MIN_SPEECH_SAMPLES
) -> SentenceRecorder:
    """Return the recorder at the microphone, behind the mute switch.

    Args:
        settings: device or recordings, and the mute switch.
        speech: voice activity detector.
        least_speech_samples: see `SentenceRecorder`.

    Raises:
        EarmarkError: the mute switch cannot be used.
    """
    mute = build_mute(settings, Path(settings.home), NoRequests(), None, lambda *_: None)
    return SentenceRecorder(
        EnrolmentMicrophone(settings, mute).open,
        speech,
        keeps_open=bool(settings.microphone.files),
        least_speech_samples=least_speech_samples,
    )


def read_configuration() -> config.Config:
    """Return the configuration that the parent writes on the first line of standard input."""
    line = sys.stdin.buffer.readline(_LONGEST_CONFIG_BYTES)
    return msgspec.json.decode(line, type=config.Config)


def _serve(settings: config.Config) -> None:
    confine(settings)
    speech = SpeechNet(Catalogue(Path(os.devnull)).speech())
    network = SpeakerEmbedding.load()
    recorder = build_recorder(settings, speech)
    number = 0
    while sys.stdin.buffer.readline():
        samples = recorder.record()
        found = detect_speech(samples, speech)
        levels = assess_recording(samples, found)
        sentence = None
        if levels.problem is None:
            sentence = embed_sentence(found, network.embed, number)
            number += 1
        found.fill(0)
        recorder.wipe()
        _write(make_reply(levels, sentence))


def _write(reply: SentenceReply) -> None:
    sys.stdout.buffer.write(encode_reply(reply))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
