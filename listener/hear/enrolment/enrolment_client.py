"""The enrolment process as its parent sees it: ask for a sentence, receive its embeddings."""

import sys
from collections.abc import Sequence
from typing import Final

from listener.config import Config
from listener.errors import Unavailable
from listener.hear.enrolment.recorder_process import RecorderProcess
from listener.hear.enrolment.sentence_reply import LONGEST_REPLY_BYTES, SentenceReply, parse_reply

COMMAND: Final = (sys.executable, "-P", "-m", "listener.hear.enrolment.enrolment_process")
"""Command line of the enrolment process."""


class EnrolmentClient(RecorderProcess):
    """A running enrolment process. A context manager, for one thread.

    Args:
        settings: the configuration that hear uses.
        command: starts the process.
    """

    def __init__(self, settings: Config, command: Sequence[str] = COMMAND) -> None:
        super().__init__(settings, command, "enrolment")

    def record(self) -> SentenceReply:
        """Record one sentence.

        Raises:
            Unavailable: the microphone is missing, busy or muted, or the process failed.
        """
        line = self.ask(LONGEST_REPLY_BYTES)
        try:
            reply = parse_reply(line)
        except ValueError as error:
            raise self.failed() from error
        if reply.error:
            raise Unavailable(reply.error, reply.hint)
        return reply
