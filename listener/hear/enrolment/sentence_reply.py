"""Reply of the enrolment process about one recording: levels and embeddings, no samples."""

from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta

from listener import strict_json
from listener.voiceprint.enrolment import EnrolmentSentence, RecordingLevels, RecordingProblem
from listener.voiceprint.record import VectorText, decode_vector, encode_vector

LONGEST_REPLY_BYTES: Final = 64 << 10
"""Length of the longest reply, a line of JSON."""

_Level = Annotated[float, Meta(ge=-200, le=100)]


class SentenceReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recording, or the error that prevented it."""

    level_dbfs: _Level = 0.0
    noise_dbfs: _Level = 0.0
    speech_s: Annotated[float, Meta(ge=0, le=60)] = 0.0
    problem: RecordingProblem | None = None
    vectors: Annotated[tuple[VectorText, ...], Meta(max_length=16)] = ()
    """Embeddings of the speech and its copies; none if there is a problem or an error."""
    embedded_s: Annotated[float, Meta(ge=0, le=60)] = 0.0
    error: str = ""
    """Message of an error; empty without one."""
    hint: str = ""

    @property
    def levels(self) -> RecordingLevels:
        """Levels of the recording."""
        return RecordingLevels(self.level_dbfs, self.noise_dbfs, self.speech_s, self.problem)

    @property
    def sentence(self) -> EnrolmentSentence | None:
        """What is kept of the recording; None if there is nothing."""
        if not self.vectors:
            return None
        return EnrolmentSentence(
            np.stack([decode_vector(text) for text in self.vectors]), self.embedded_s
        )


def make_reply(levels: RecordingLevels, sentence: EnrolmentSentence | None) -> SentenceReply:
    """Return the reply about a recording."""
    return SentenceReply(
        level_dbfs=levels.level_dbfs,
        noise_dbfs=levels.noise_dbfs,
        speech_s=levels.speech_s,
        problem=levels.problem,
        vectors=() if sentence is None else tuple(map(encode_vector, sentence.embeddings)),
        embedded_s=0.0 if sentence is None else sentence.speech_s,
    )


def encode_reply(reply: SentenceReply) -> bytes:
    """Return a line of JSON."""
    return msgspec.json.encode(reply) + b"\n"


def parse_reply(line: bytes) -> SentenceReply:
    """Parse a line of the enrolment process.

    Args:
        line: any bytes are safe.

    Raises:
        ValueError: it is not a reply.
    """
    if len(line) > LONGEST_REPLY_BYTES:
        raise ValueError("a reply is too long")
    return strict_json.decode(line, SentenceReply)
