"""Reply of the take process about one recording: levels and samples."""

from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from listener import strict_json
from listener.audio.pcm import Samples
from listener.voiceprint.enrolment import RecordingLevels, RecordingProblem

LONGEST_REPLY_BYTES: Final = 1 << 20
"""Length of the longest reply, a line of JSON; the longest recording has 10 s."""

_Level = Annotated[float, Meta(ge=-200, le=100)]
_SAMPLE_BYTES: Final = 2


class TakeReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording, or the error that prevented it."""

    level_dbfs: _Level = 0.0
    noise_dbfs: _Level = 0.0
    speech_s: Annotated[float, Meta(ge=0, le=60)] = 0.0
    problem: RecordingProblem | None = None
    samples: bytes = b""
    """The recording, int16 at 16 kHz, little-endian; empty if there is a problem or an error."""
    error: str = ""
    """Message of an error; empty without one."""
    hint: str = ""

    @property
    def levels(self) -> RecordingLevels:
        """Levels of the recording."""
        return RecordingLevels(self.level_dbfs, self.noise_dbfs, self.speech_s, self.problem)

    @property
    def sound(self) -> Samples:
        """The recording, int16 at 16 kHz, shape (n,)."""
        return np.frombuffer(self.samples, "<i2").astype(np.int16)


def make_take_reply(levels: RecordingLevels, samples: Samples) -> TakeReply:
    """Return the reply about a recording; one with a problem has no samples."""
    return TakeReply(
        level_dbfs=levels.level_dbfs,
        noise_dbfs=levels.noise_dbfs,
        speech_s=levels.speech_s,
        problem=levels.problem,
        samples=samples.astype("<i2").tobytes() if levels.problem is None else b"",
    )


def encode_take_reply(reply: TakeReply) -> bytes:
    """Return a line of JSON."""
    return msgspec.json.encode(reply) + b"\n"


def parse_take_reply(line: bytes) -> TakeReply:
    """Parse a line of the take process.

    Args:
        line: any bytes are safe.

    Raises:
        ValueError: it is not a reply.
    """
    if len(line) > LONGEST_REPLY_BYTES:
        raise ValueError("a reply is too long")
    reply = strict_json.decode(line, TakeReply)
    if len(reply.samples) % _SAMPLE_BYTES:
        raise ValueError("a reply has half a sample")
    return reply
