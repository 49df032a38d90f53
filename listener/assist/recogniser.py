"""Interfaces of what turns sound into text, and text into a result. Pure.

Assist has several implementations of each: Home Assistant, a Wyoming server, and packages alone.
None of them logs, stores or publishes text, intents or sound.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from listener.audio.pcm import Samples
from listener.errors import EarmarkError

Outcome = Literal["done", "failed", "not-understood"]
"""AgentResult of a command: carried out, understood and failed, or not understood."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """Text of a clip."""

    text: str
    """Words of the whole clip; the wake word may still stand at its beginning."""
    is_command: bool
    """Whether the text, without the wake word, is a whole command as far as the recogniser can
    tell. A provisional part is acted on only when it is; a final part of a recogniser that does not
    know commands is always handed on."""


@dataclass(frozen=True, slots=True)
class AgentResult:
    """AgentResult of a command, and what is said about it."""

    outcome: Outcome
    """Outcome that the speaker is told."""
    speech: str = ""
    """Text to be spoken at the speaker; empty: the speaker's sound for the outcome."""
    sound: bytes = b""
    """Sound file to be played instead of ``speech``: WAV, FLAC, Ogg or MP3; empty without one."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Text for a speaker that answers no command: an expired timer, a message."""

    device: str
    """Name of the speaker."""
    speech: str
    """Text to be spoken; may be empty if it rings."""
    is_ring: bool = False
    """Whether the speaker rings after the text, as for a timer, until a person stops it."""
    is_message: bool = False
    """Whether the text came by message, and so may be any text."""


class Recogniser(Protocol):
    """Speech to text."""

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        """Return the text of a clip, or None where the clip holds no command.

        Called in a worker thread, one call at a time. The implementation keeps neither sound nor
        text after its return.

        Args:
            samples: int16, shape (n,), mono, 16 kHz.
            word: name of the wake word's model, such as ``alexa``.
            is_final: whether the clip is whole; False for a provisional part, whose speaker may
                still be speaking.

        Raises:
            Unavailable: the recogniser cannot be reached or has failed.
        """


class Agent(Protocol):
    """Carries a command out."""

    def carry_out(self, text: str, device: str, owner: str) -> AgentResult:
        """Carry a command out at most once.

        Called in a worker thread, one call at a time. A call that fails is never repeated.

        Args:
            text: the command, without the wake word.
            device: name of the speaker, which gives the room.
            owner: short name of the owner whose command it is.

        Raises:
            Unavailable: the command cannot be handed over, and nothing was done.
            OutcomeUnknown: it was handed over, and the connection was lost.
        """


class CommandMatcher(Protocol):
    """Tells whether a text is a whole command, without carrying it out."""

    def is_command(self, text: str, device: str, owner: str) -> bool:
        """Return whether a text is a whole command of this home.

        Called in the thread of ``Agent.carry_out``, one call at a time.

        Args:
            text: without the wake word.
            device: name of the speaker, which gives the room.
            owner: short name of the owner.

        Raises:
            Unavailable: that cannot be found out.
        """


class AnnouncementSource(Protocol):
    """Announcements that fall due, such as those of timers."""

    def due(self) -> list[Announcement]:
        """Return the announcements that fell due since the last call.

        Called about twice a second, in another thread than ``Agent.carry_out``.
        """


class OutcomeUnknown(EarmarkError):
    """Command that was handed over, and whose outcome is not known; it is never repeated."""
