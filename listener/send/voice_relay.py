"""Relay of voice control: asks and command copies out, answers and replies in.

Send reads none of these messages. It passes on what it is given, within bounds of size, number and
age, and verifies nothing: asks and copies are signed by hear, answers and replies by assist, and
send has no key of either (docs/reference/voice-protocol.md).

Copies and replies are files in a folder in memory, which hear, send and the player share. A copy
is claimed by its removal: hear removes it too, at a mute, and only the one that succeeds has it.
Whatever send finds at its start was meant for the one before, and is removed unpublished.
"""

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from listener.ipc import voice_paths
from listener.ipc.datagrams import Outbox
from listener.ipc.voice_paths import CopyName
from listener.mqtt import topics
from listener.mqtt.client import Broker, BrokerLimits, Message
from listener.mqtt.topics import Topic
from listener.spool.files import open_directory
from listener.storage import atomic
from listener.storage.atomic import PART, make_folders
from listener.voice.limits import LONGEST_FILE_BYTES, LONGEST_MESSAGE_BYTES, MOST_COPIES
from listener.voice.timing import ANSWER_S, COPY_S, REPLY_S

_FOLDER_MODE: Final = 0o700
_READ_ONLY_FOR_GROUP: Final = 0o640
_ASK_OF_REPLY: Final = re.compile(
    rb'EARMARK-REPLY/1\n[^\n]{0,512}?"ask":"([0-9a-f]{32})"', re.ASCII
)
"""Start of a reply, up to the id of its ask, which names its file."""

_log = logging.getLogger(__name__)


def boottime_s() -> float:
    """Return the running time of the machine, in seconds; it counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class VoiceRelay:
    """Relay between hear, the player and the broker. For one thread. Never waits, never raises.

    Args:
        device: this speaker's name.
        folder: the folder of `voice_paths`; what an earlier send left in it is removed.
        broker: the client.
        now_s: running time of the machine, in seconds.
    """

    def __init__(
        self,
        device: str,
        folder: Path,
        broker: Broker,
        now_s: Callable[[], float] = boottime_s,
    ) -> None:
        self._device: Final = device
        self._broker: Final = broker
        self._now_s: Final = now_s
        self._answer: Final = topics.ANSWER.name(device=device)
        self._say: Final = topics.SAY.name(device=device)
        self._copies: Final = folder / voice_paths.COPIES
        self._replies: Final = folder / voice_paths.REPLIES
        self._hear: Final = Outbox(folder / voice_paths.VOICE_SOCKET)
        self._player: Final = Outbox(folder / voice_paths.PLAYER_SOCKET)
        self._looked_s = now_s()
        self._reply_laid_s: float | None = None
        self._logged: set[str] = set()
        self.dropped = 0
        """Command copies that were removed and not published."""
        self.ignored = 0
        """Messages on the topics of assist that were retained, too long or not of their form."""
        for place in (self._copies, self._replies):
            with self._logs_errors(place):
                make_folders(place, _FOLDER_MODE)
        self._drop_copies()
        self._drop_replies()

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics to subscribe to."""
        return (self._answer, self._say)

    def publish_ask(self, payload: bytes, *, connected: bool) -> None:
        """Publish an ask at once or never; nothing answers a late one.

        Args:
            payload: hear's signed ask, unread.
            connected: whether there is a connection.
        """
        if connected and len(payload) <= LONGEST_MESSAGE_BYTES:
            topic = topics.ASK.name(device=self._device)
            self._publish(topics.ASK, topic, payload, ANSWER_S)

    def take(self, message: Message) -> None:
        """Pass a message of assist on, to hear or to the player; ignore those on other topics."""
        if message.topic not in self.topics:
            return
        is_answer = message.topic == self._answer
        longest_bytes = LONGEST_MESSAGE_BYTES if is_answer else LONGEST_FILE_BYTES
        if message.retain or not 0 < len(message.payload) <= longest_bytes:
            self._count_ignored()
        elif is_answer:
            self._hear.send(message.payload)
        else:
            self._lay_reply(message.payload)

    def turn(self, limits: BrokerLimits | None) -> None:
        """Publish the copies that hear has laid, and remove what is not to be published.

        Args:
            limits: limits of the connection; None without one: then each copy is removed.
        """
        now_s = self._now_s()
        looked_s, self._looked_s = self._looked_s, now_s
        # No copy was left at the last look, so none has waited for longer than since then.
        if limits is None or not 0 <= now_s - looked_s <= COPY_S:
            self._drop_copies()
        else:
            self._publish_copies(limits)
        if self._reply_laid_s is not None and not 0 <= now_s - self._reply_laid_s <= REPLY_S:
            self._drop_replies()

    def close(self) -> None:
        """Remove what is left in the folder, and close the sockets."""
        self._drop_copies()
        self._drop_replies()
        self._hear.close()
        self._player.close()

    def _publish_copies(self, limits: BrokerLimits) -> None:
        with self._logs_errors(self._copies), open_directory(self._copies) as folder:
            for number, name in enumerate(_find_copies(folder)):
                data = _claim(str(name), folder)
                if data is None:
                    continue  # hear removed it first
                if number >= MOST_COPIES or not 0 < len(data) <= LONGEST_FILE_BYTES:
                    self._count_dropped()
                    continue
                topic = topics.SPOKEN.name(device=self._device, ask=name.ask)
                message = _message(topics.SPOKEN, topic, data, COPY_S)
                if not limits.accepts(message) or self._broker.publish(message) == 0:
                    self._count_dropped()

    def _drop_copies(self) -> None:
        with self._logs_errors(self._copies), open_directory(self._copies) as folder:
            for name in _find_copies(folder):
                if _remove(str(name), folder):
                    self._count_dropped()

    def _lay_reply(self, payload: bytes) -> None:
        """Store a reply for the player, in place of one that it has not taken."""
        match = _ASK_OF_REPLY.match(payload)
        if match is None:
            self._count_ignored()
            return
        name = match[1].decode("ascii")
        self._drop_replies()
        with self._logs_errors(self._replies), open_directory(self._replies) as folder:
            part = f".{name}{PART}"
            mode = atomic.shared_mode(folder) & _READ_ONLY_FOR_GROUP
            with atomic.create_file(part, folder=folder, is_durable=False) as file:
                file.write(payload)
                os.fchmod(file.fileno(), mode)
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            self._reply_laid_s = self._now_s()
            self._player.send(b"")  # look at the folder now

    def _drop_replies(self) -> None:
        self._reply_laid_s = None
        with self._logs_errors(self._replies), open_directory(self._replies) as folder:
            for name in os.listdir(folder):  # noqa: PTH208 - pathlib takes no descriptor
                if voice_paths.is_reply_name(name.removeprefix(".").removesuffix(PART)):
                    _remove(name, folder)

    def _publish(self, kind: Topic, topic: str, payload: bytes, expiry_s: float) -> None:
        self._broker.publish(_message(kind, topic, payload, expiry_s))

    @contextlib.contextmanager
    def _logs_errors(self, place: Path) -> Iterator[None]:
        """End the block at an error, and log each error once."""
        try:
            yield
        except OSError as error:
            text = f"cannot use {place}: {error.strerror or error}"
            if text not in self._logged:
                self._logged.add(text)
                _log.warning("voice control: %s", text)

    def _count_dropped(self) -> None:
        self.dropped += 1
        if self.dropped == 1:
            _log.warning(
                "a command copy was removed and not published: no broker, late or too many"
            )

    def _count_ignored(self) -> None:
        self.ignored += 1
        if self.ignored == 1:
            _log.warning("ignored a message of assist: retained, too long or not of its form")


def _message(kind: Topic, topic: str, payload: bytes, expiry_s: float) -> Message:
    return Message(topic, payload, kind.qos, kind.retain, int(expiry_s))


def _find_copies(folder: int) -> list[CopyName]:
    """Return the names of the copies, in the order of their writing."""
    found = []
    with os.scandir(folder) as listing:
        for item in listing:
            if (name := voice_paths.parse_copy_name(item.name)) is not None:
                with contextlib.suppress(FileNotFoundError):  # hear removed it during the scan
                    status = item.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, name.ask, name.part, name))
    return [name for *_, name in sorted(found, key=lambda one: one[:3])]


def _claim(name: str, folder: int) -> bytes | None:
    """Remove a copy; return its content, or None if another process removed it first.

    What is not a plain file has no content; of one that is too long, one byte too many is returned.
    """
    try:
        with atomic.open_plain_file(name, folder) as file:
            if not _remove(name, folder):
                return None
            return file.read(LONGEST_FILE_BYTES + 1)
    except OSError:  # not there, not a plain file, or not readable
        return b"" if _remove(name, folder) else None


def _remove(name: str, folder: int) -> bool:
    """Remove a file or an empty folder; return whether that succeeded."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=folder)
            return True
    except OSError:
        return False
    else:
        return True
    return False
