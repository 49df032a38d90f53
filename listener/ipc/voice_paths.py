"""Files and sockets of voice control on one speaker, below one folder of a tmpfs. Pure.

hear, send and the player share the folder; a setgid bit gives them its group. It is not part of the
spool: nothing in it outlives the start of the machine, a mute or a few seconds.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.voice.limits import MOST_PARTS

RUNTIME_FOLDER: Final = "/run/earmark-voice"
"""The folder where systemd made it."""
HOME_FOLDER: Final = "run/voice"
"""The folder below a home without systemd."""

COPIES: Final = "copies"
"""hear to send: sealed command copies, ``copies/<ask>.<part>``, at most two."""
REPLIES: Final = "replies"
"""send to the player: a sealed reply, ``replies/<ask>``, at most one."""
REPLY_KEY: Final = "reply.key"
"""The player to hear: the public key for the reply to the next ask, one line."""
PLAYER_STATE: Final = "player.json"
"""hear to the player: assist's key, the latest ask and its time, and whether muted."""
VOICE_SOCKET: Final = "voice.sock"
"""send to hear: messages on the topic of answers, one a datagram, unread."""
ANOTHER_ASSIST: Final = "another-assist"
"""An empty file of hear: since its start, another assist than the allowed one has answered."""
NO_ANSWER: Final = "no-answer"
"""An empty file of hear: assist has not answered the last ask."""
PLAYER_SOCKET: Final = "player.sock"
"""hear and send to the player: an empty datagram, to look at the files now."""

_ASK: Final = r"[0-9a-f]{32}"
_COPY_NAME: Final = re.compile(rf"({_ASK})\.([1-{MOST_PARTS}])", re.ASCII)
_REPLY_NAME: Final = re.compile(_ASK, re.ASCII)


@dataclass(frozen=True, slots=True)
class CopyName:
    """Name of the file of a command copy."""

    ask: str
    part: int

    def __str__(self) -> str:
        """Return the file name."""
        return f"{self.ask}.{self.part}"


def parse_copy_name(name: str) -> CopyName | None:
    """Return the parts of a file name in ``COPIES``, or None if it is not one."""
    match = _COPY_NAME.fullmatch(name)
    return CopyName(match[1], int(match[2])) if match else None


def is_reply_name(name: str) -> bool:
    """Return whether a file name in ``REPLIES`` is that of a reply: the id of its ask."""
    return _REPLY_NAME.fullmatch(name) is not None


def find_folder(home: Path, *, is_runtime: bool) -> Path:
    """Return the folder of voice control.

    Args:
        home: the speaker's home.
        is_runtime: whether ``RUNTIME_FOLDER`` exists.
    """
    return Path(RUNTIME_FOLDER) if is_runtime else home / HOME_FOLDER
