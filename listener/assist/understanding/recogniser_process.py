"""Process that recognises commands: clips in by a pipe, sentences out by another.

``python -m listener.assist.understanding.recogniser_process PARENT FOLDER``; `LocalRecogniser`
starts it. Each message is its length, 4 bytes big-endian, and a MessagePack object. The first is
the text of the home file. From then on it has neither files nor sockets. It keeps nothing of a
clip: what is freed is overwritten, also short texts (`malloc.with_small_blocks_freed`), and objects
that refer to each other are freed after each clip.
"""

import gc
import os
import struct
import sys
from pathlib import Path
from typing import IO, Final

import msgspec
import numpy as np

from listener.assist.understanding import process_limits
from listener.assist.understanding.command_recogniser import CommandRecogniser
from listener.assist.understanding.home_file import parse_home_file
from listener.assist.understanding.model_files import TOKENIZER, WEIGHTS, read_model_file
from listener.assist.understanding.text_tokens import TextTokens
from listener.assist.understanding.weights import parse_weights
from listener.assist.understanding.whisper import WhisperModel
from listener.errors import EarmarkError

LONGEST_BYTES: Final = 1 << 20
_LENGTH: Final = struct.Struct(">I")


class ClipMessage(msgspec.Struct, frozen=True):
    """A clip: samples int16 little-endian, and the name of the wake word."""

    samples: bytes
    word: str


class FoundMessage(msgspec.Struct, frozen=True):
    """Result: a sentence, or nothing; or the error for which the process ends."""

    text: str | None = None
    error: str = ""
    hint: str = ""


def write_message(pipe: IO[bytes], message: bytes) -> None:
    """Write one message, and flush."""
    pipe.write(_LENGTH.pack(len(message)) + message)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> bytearray | None:
    """Return one message, or None at the end.

    Raises:
        ValueError: it is too long.
    """
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > LONGEST_BYTES:
        raise ValueError(f"a message of {length} bytes")
    message = bytearray(length)
    view = memoryview(message)
    done = 0
    while done < length:
        count = pipe.readinto(view[done:])  # type: ignore[attr-defined] # IO lacks it; raw and buffered files have it
        if not count:
            return None
        done += count
    return message


def main(arguments: list[str]) -> int:
    """Run until the pipe is closed.

    Args:
        arguments: process id of the parent, and folder of the speech model.
    """
    parent, folder = int(arguments[0]), Path(arguments[1])
    process_limits.end_with_parent(parent)
    process_limits.protect_memory()
    # Unbuffered, so that no clip stays in a buffer.
    with (
        os.fdopen(os.dup(0), "rb", buffering=0) as source,
        os.fdopen(os.dup(1), "wb", buffering=0) as target,
    ):
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        try:
            recogniser = _load(read_message(source), folder)
            recogniser.warm_up()
        except EarmarkError as error:
            reply = FoundMessage(error=str(error), hint=error.hint)
            write_message(target, msgspec.msgpack.encode(reply))
            return error.exit_code
        process_limits.close_in()
        gc.freeze()  # what was loaded need not be searched after each clip
        write_message(target, msgspec.msgpack.encode(FoundMessage()))
        while (message := read_message(source)) is not None:
            # No variable keeps the sentence while the process waits for the next clip.
            write_message(target, _answer(recogniser, message))
            gc.collect()
    return 0


def _load(home_text: bytearray | None, folder: Path) -> CommandRecogniser:
    home = parse_home_file((home_text or b"").decode(), "the home file")
    weights = parse_weights(read_model_file(folder, WEIGHTS))
    tokens = TextTokens(read_model_file(folder, TOKENIZER))
    return CommandRecogniser(home, WhisperModel(weights), tokens)


def _answer(recogniser: CommandRecogniser, message: bytearray) -> bytes:
    """Recognise a clip, and overwrite it; return the encoded result."""
    clip = msgspec.msgpack.decode(message, type=ClipMessage)
    samples = np.frombuffer(clip.samples, "<i2").astype(np.int16)
    try:
        found = recogniser.recognise(samples, clip.word)
    finally:
        samples[:] = 0
        message[:] = bytes(len(message))
    return msgspec.msgpack.encode(FoundMessage(None if found is None else found.text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
