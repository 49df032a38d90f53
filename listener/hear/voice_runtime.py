"""Files, sockets and clocks of voice control, and the parts of hear that use them.

Voice control is no condition for listening: where its folder cannot be used, hear logs the fault
and listens without it.
"""

import contextlib
import logging
import os
import queue
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.errors import EarmarkError
from listener.hear.command_sealer import CommandSealer, CopyResult
from listener.hear.consent_follower import ConsentFollower
from listener.hear.copy_folder import CopyFolder
from listener.hear.indicators.pause_chime import PauseChime
from listener.hear.open_ask import Instant
from listener.hear.playback import PlaybackMonitor
from listener.hear.publisher import EventPublisher
from listener.hear.voice_control import MOST_AT_ONCE, VoiceControl
from listener.ipc.datagrams import Inbox
from listener.ipc.notices import CopyNotice
from listener.ipc.playback_locks import PlaybackPermit
from listener.ipc.player_state import PlayerStateWriter
from listener.ipc.voice_folder import locate_voice_folder
from listener.ipc.voice_paths import ANOTHER_ASSIST, COPIES, NO_ANSWER, REPLY_KEY, VOICE_SOCKET
from listener.storage.atomic import SECRET_MODE, make_folder, read_plain_file, translate_os_errors
from listener.storage.home import Home
from listener.voice.limits import LONGEST_MESSAGE_BYTES

_NONCE_BYTES: Final = 16
_REPLY_KEY_LINE: Final = re.compile(rb"(age1[a-z0-9]{58})\n", re.ASCII)
_REPLY_KEY_BYTES: Final = 63

_log = logging.getLogger(__name__)


def read_clocks() -> Instant:
    """Return this moment by both clocks of this machine."""
    return Instant(boottime_s(), time.time())


def boottime_s() -> float:
    """Return the running time of this machine, with the time that it was suspended, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class ReplyKeyFile:
    """Reader of the key that the player made for the next reply. For one thread.

    Args:
        path: file of the player.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken = ""

    def take(self) -> str | None:
        """Return the key, or None if there is none that was not taken before."""
        try:
            match = _REPLY_KEY_LINE.fullmatch(read_plain_file(self._path, _REPLY_KEY_BYTES))
        except OSError:
            return None
        key = match[1].decode("ascii") if match else ""
        if not key or key == self._taken:
            return None
        self._taken = key
        return key


class VoiceRuntime:
    """Open files and sockets of voice control.

    Args:
        home: installation.
        publisher: publishes events and sends notices.

    Raises:
        EarmarkError: the folder cannot be used, or another process listens on the socket.
    """

    def __init__(self, home: Home, publisher: EventPublisher) -> None:
        self._home = home
        self._publisher = publisher
        folder = locate_voice_folder(home.path)
        make_folder(folder)
        self._folder = folder
        with translate_os_errors(folder):
            for name in (ANOTHER_ASSIST, NO_ANSWER):
                (folder / name).unlink(missing_ok=True)
        self._copies = CopyFolder(folder / COPIES, boottime_s)
        self._answers = Inbox(
            folder / VOICE_SOCKET,
            LONGEST_MESSAGE_BYTES,
            is_for_group=True,
            most_at_once=MOST_AT_ONCE,
        )
        try:
            self._player = PlayerStateWriter(folder)
            self.permit = PlaybackPermit(folder)
            """Permission for the player to sound."""
        except EarmarkError:
            self._answers.close()
            raise
        self._results: queue.SimpleQueue[CopyResult] = queue.SimpleQueue()

    def playback_monitor(self) -> PlaybackMonitor:
        """Return the detector of the device's own sound, for the gate."""
        return PlaybackMonitor(self.permit, time.monotonic)

    def pause_chime(self) -> PauseChime:
        """Return the chime of the player in the pause after a wake word."""
        return PauseChime(lambda: self._player.request_sound("wake"), self.permit, time.monotonic)

    def command_sealer(self, device: str, key: Ed25519PrivateKey) -> CommandSealer:
        """Return the maker of command copies."""
        return CommandSealer(device, key, self._copies, read_clocks, self._report)

    def control(  # noqa: PLR0913 - the parts of hear that voice control connects
        self,
        *,
        device: str,
        key: Ed25519PrivateKey,
        boot: str,
        keeper: str,
        run_soon: Callable[[Callable[[], object]], object],
        reserve_seq: Callable[[], object],
    ) -> VoiceControl:
        """Return voice control for the listen loop.

        Args:
            device: name of this device.
            key: private key of this device.
            boot: random id of this run.
            keeper: name of the keeper.
            run_soon: runs something in the sealer thread.
            reserve_seq: reserves a sequence number; to be run in the sealer thread.
        """
        return VoiceControl(
            device=device,
            key=key,
            boot=boot,
            consents=ConsentFollower(self._home, device, key, keeper, run_soon),
            answers=self._answers,
            copies=self._copies,
            results=self._results,
            player=self._player,
            take_reply_key=ReplyKeyFile(self._folder / REPLY_KEY).take,
            notify=self._publisher.notify,
            publish=self._publisher.publish,
            reserve_seq=lambda: run_soon(reserve_seq),
            # Not by `secrets`, which loads OpenSSL's hashes: 3.6 MiB.
            new_nonce=lambda: os.urandom(_NONCE_BYTES).hex(),
            now=read_clocks,
            on_forgery=self._mark_forgery,
            on_answered=self._mark_answer,
        )

    def close(self) -> None:
        """Remove the command copies that send has not taken, and close the sockets."""
        self._copies.clear()
        self._answers.close()
        self.permit.close()
        self._player.close()

    def _mark_forgery(self) -> None:
        with contextlib.suppress(OSError):  # the log has it
            (self._folder / ANOTHER_ASSIST).touch(SECRET_MODE)

    def _mark_answer(self, is_answered: bool) -> None:  # noqa: FBT001 - a callback's only argument
        path = self._folder / NO_ANSWER
        with contextlib.suppress(OSError):  # only doctor reads it
            if is_answered:
                path.unlink(missing_ok=True)
            else:
                path.touch(SECRET_MODE)

    def _report(self, result: CopyResult) -> None:
        """Tell send about a copy at once; the listen loop takes the result in its next turn."""
        if result.reason is None:
            self._publisher.notify(CopyNotice())
        self._results.put(result)


def open_voice_runtime(home: Home, publisher: EventPublisher) -> VoiceRuntime | None:
    """Open voice control; return None, and log the reason, if that is not possible."""
    try:
        return VoiceRuntime(home, publisher)
    except EarmarkError as error:
        _log.error("voice control is off: %s%s", error, f"; {error.hint}" if error.hint else "")
        return None
