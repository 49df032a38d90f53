"""A player with fakes at the hardware's edge: the loudspeaker, the button and the clocks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.ipc.datagrams import Inbox
from listener.ipc.playback_locks import PlaybackPermit
from listener.ipc.player_state import AskedReply, PlayerStateWriter
from listener.ipc.voice_paths import PLAYER_SOCKET, REPLIES, REPLY_KEY
from listener.player.loop import Player
from listener.player.loudspeaker import PIECE_S, LoudspeakerError
from listener.player.replies import ClockReading
from listener.voice.reply import ReplyHeader, seal_reply

BOOT_S, WALL_S = 5_000.0, 1_900_000_000.0
RATE_HZ = 16_000


def tone(length_s: float = 0.2, level: int = 3_000) -> Samples:
    time = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    samples: Samples = (level * np.sin(2 * np.pi * 440 * time) + level).astype(np.int16)
    return samples


class FakeClocks:
    """Time passes only in `sleep`; then `on_sleep` runs."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.wall_step_s = 0.0
        self.at: list[tuple[float, Callable[[], object]]] = []
        """Events and the times at which they happen."""

    def monotonic_s(self) -> float:
        return self.passed_s

    def moment(self) -> ClockReading:
        return ClockReading(BOOT_S + self.passed_s, WALL_S + self.passed_s + self.wall_step_s)

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        while self.at and self.at[0][0] <= self.passed_s:
            self.at.pop(0)[1]()


class FakeOutput:
    """A loudspeaker that takes as long as the sound, and keeps what sounded."""

    def __init__(self, clocks: FakeClocks) -> None:
        self._clocks = clocks
        self.sounds: list[tuple[float, Samples, int, bool]] = []
        """Begin, what sounded, rate, and whether it was played to its end."""
        self.during: Callable[[], object] = bool
        self.is_broken = False

    def play(self, samples: Samples, rate_hz: int, may_continue: Callable[[], bool]) -> bool:
        if self.is_broken:
            raise LoudspeakerError("the loudspeaker cannot be opened")
        began_s = self._clocks.passed_s
        piece = round(PIECE_S * rate_hz)
        for at in range(0, len(samples), piece):
            if not may_continue():
                self.sounds.append((began_s, samples[:at].copy(), rate_hz, False))
                return False
            self.during()
            self._clocks.sleep(PIECE_S)
        self.sounds.append((began_s, samples.copy(), rate_hz, True))
        return True


class FakeButton:
    def __init__(self) -> None:
        self.is_pressed = False

    def press(self) -> None:
        self.is_pressed = True

    def was_pressed(self) -> bool:
        was, self.is_pressed = self.is_pressed, False
        return was


class PlayerFixture:
    """Hear's end, send's end and assist around one player."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / REPLIES).mkdir()
        self.assist = Ed25519PrivateKey.generate()
        self.clocks = FakeClocks()
        self.output = FakeOutput(self.clocks)
        self.button = FakeButton()
        self.is_stopping = False
        self.pings = 0
        self.inbox = Inbox(folder / PLAYER_SOCKET, 1)
        self.permit = PlaybackPermit(folder)
        self.hear = PlayerStateWriter(folder)
        self.player = Player(
            folder=folder,
            device="hall",
            inbox=self.inbox,
            output=self.output,
            clock=self.clocks,
            is_stopping=lambda: self.is_stopping,
            alive=self._ping,
            button=self.button,
        )
        self._asks = 0

    def _ping(self) -> None:
        self.pings += 1

    def open(self) -> None:
        """Hear is not muted and records nothing."""
        self.hear.set_muted(is_muted=False)
        self.permit.permit(is_permitted=True)

    def mute(self) -> None:
        self.permit.permit(is_permitted=False)
        self.hear.set_muted(is_muted=True)

    def asked(self) -> AskedReply:
        """Hear signs an ask now, with the key that lies ready; the player looks."""
        self._asks += 1
        now = self.clocks.moment()
        latest = AskedReply(
            ask=f"{self._asks:032x}",
            assist=keys.device_text(self.assist.public_key()),
            reply=(self.folder / REPLY_KEY).read_text().strip(),
            boot_ms=round(now.boot_s * 1000),
            wall_ms=round(now.wall_s * 1000),
        )
        self.hear.set_latest(latest)
        self.player.turn(0)
        return latest

    def sealed(
        self,
        latest: AskedReply,
        samples: Samples,
        *,
        age_ms: int = 500,
        device: str = "hall",
        signer: Ed25519PrivateKey | None = None,
        recipient: str = "",
        ask: str = "",
    ) -> bytes:
        recipient = recipient or latest.reply
        header = ReplyHeader(
            age_ms=age_ms, ask=ask or latest.ask, device=device, key=keys.owner_id(recipient)
        )
        return seal_reply(header, samples, RATE_HZ, recipient, signer or self.assist)

    def lay(self, data: bytes, name: str = "f" * 32) -> None:
        """Send lays a reply into the folder; the player looks."""
        (self.folder / REPLIES / name).write_bytes(data)
        self.player.turn(0)

    def close(self) -> None:
        self.player.close()
        self.inbox.close()
        self.permit.close()
        self.hear.close()


def other_recipient() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())
