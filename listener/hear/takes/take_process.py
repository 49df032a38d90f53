"""Take process: records a wake word and answers with the recording; run with ``python -m``.

As the enrolment process, it is confined as hear is, and reads the configuration from the first
line of standard input and a request from each further one. Other than there, the recording goes to
the parent, which trains a model with it and stores none of it.
"""

import os
import sys
from pathlib import Path
from typing import Final

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.config import Config
from listener.errors import EarmarkError
from listener.hear.enrolment.enrolment_process import build_recorder, confine, read_configuration
from listener.hear.takes.take_reply import TakeReply, encode_take_reply, make_take_reply
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.voiceprint.enrolment import assess_recording, detect_speech

LEAST_SPEECH_S: Final = 0.25
"""Seconds of speech that a take has at least."""
_LEAST_SAMPLES: Final = round(LEAST_SPEECH_S * SAMPLE_RATE_HZ)


def main() -> int:
    """Answer each line of standard input; return 0 at its end, or the exit code of an error."""
    settings = read_configuration()
    try:
        _serve(settings)
    except EarmarkError as error:
        _write(TakeReply(error=str(error), hint=error.hint))
        return error.exit_code
    return 0


def _serve(settings: Config) -> None:
    confine(settings)
    speech = SpeechNet(Catalogue(Path(os.devnull)).speech())
    recorder = build_recorder(settings, speech, _LEAST_SAMPLES)
    while sys.stdin.buffer.readline():
        samples = recorder.record()
        found = detect_speech(samples, speech)
        reply = make_take_reply(assess_recording(samples, found, _LEAST_SAMPLES), samples)
        found.fill(0)
        recorder.wipe()
        _write(reply)


def _write(reply: TakeReply) -> None:
    sys.stdout.buffer.write(encode_take_reply(reply))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
