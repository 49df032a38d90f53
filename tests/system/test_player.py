"""``earmark play`` as a process, with the real PortAudio on an ALSA card that is a file."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.errors import Unavailable
from listener.hear.microphone.devices import load_portaudio
from listener.ipc.playback_locks import PlaybackPermit
from listener.ipc.player_state import AskedReply, PlayerStateWriter, boot_ms
from listener.ipc.voice_paths import HOME_FOLDER, REPLIES, REPLY_KEY
from listener.voice.reply import ReplyHeader, seal_reply
from tests import cards

pytestmark = pytest.mark.system

PATIENCE_S = 60.0
RATE_HZ = 16_000


def wait_until(holds: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, what
        time.sleep(0.01)


class RunningPlayer:
    """A player process; the test is hear, send and assist."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.folder = home / HOME_FOLDER
        (self.folder / REPLIES).mkdir(parents=True)
        self.sound = self.folder / "sound.raw"
        self.assist = Ed25519PrivateKey.generate()
        self.permit = PlaybackPermit(self.folder)
        self.hear = PlayerStateWriter(self.folder)
        configuration = home / "earmark.toml"
        configuration.write_text('[device]\nname = "hall"\n[player]\nvolume = 1.0\n')
        card = f'type file; slave.pcm "null"; file "{self.sound}"; format raw'
        settings = home / "asoundrc"
        settings.write_text(
            "</usr/share/alsa/alsa.conf>\n"
            f"pcm.!default {{ {card} }}\nctl.!default {{ type null }}\n"
        )
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "listener", "play", "--verbose"),
                *(f"--config={configuration}", f"--home={home}"),
            ],
            env=os.environ | environ | {cards.VARIABLE: str(settings)},
            stderr=subprocess.PIPE,
        )
        wait_until((self.folder / REPLY_KEY).exists, "the player is ready")

    def open(self) -> None:
        self.hear.set_muted(is_muted=False)
        self.permit.permit(is_permitted=True)

    def reply(self, samples: Samples) -> None:
        """Ask with the key that lies ready, and lay assist's reply."""
        recipient = (self.folder / REPLY_KEY).read_text().strip()
        ask = os.urandom(16).hex()
        self.hear.set_latest(
            AskedReply(
                ask=ask,
                assist=keys.device_text(self.assist.public_key()),
                reply=recipient,
                boot_ms=boot_ms(),
                wall_ms=round(time.time() * 1000),
            )
        )
        header = ReplyHeader(age_ms=0, ask=ask, device="hall", key=keys.owner_id(recipient))
        part = self.folder / REPLIES / ".part"
        part.write_bytes(seal_reply(header, samples, RATE_HZ, recipient, self.assist))
        part.rename(self.folder / REPLIES / ask)

    def sounded(self) -> Samples:
        if not self.sound.exists():
            return np.zeros(0, np.int16)
        data = self.sound.read_bytes()
        return np.frombuffer(data[: len(data) // 2 * 2], "<i2")

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        _, told = self.process.communicate(timeout=PATIENCE_S)
        self.permit.close()
        self.hear.close()
        return told.decode()


@pytest.fixture
def player(tmp_path: Path) -> Iterator[RunningPlayer]:
    try:
        load_portaudio()
    except Unavailable:
        pytest.fail("libportaudio2 is not installed: make debian")
    running = RunningPlayer(tmp_path, {})
    yield running
    if running.process.poll() is None:
        running.end()


def noise(length_s: float) -> Samples:
    return (
        np.random.default_rng(5).integers(-9_000, 9_000, round(length_s * RATE_HZ)).astype(np.int16)
    )


def test_reply_sounds_and_leaves_nothing_in_memory(player: RunningPlayer) -> None:
    reply = noise(1.0)
    player.open()
    first_key = (player.folder / REPLY_KEY).read_text()

    player.reply(reply)
    wait_until(lambda: len(player.sounded()) >= len(reply), "it sounds")
    wait_until(lambda: not player.permit.is_sounding(), "its echo is over")

    assert np.array_equal(player.sounded()[: len(reply)], reply)
    assert not player.sounded()[len(reply) :].any()
    assert (player.folder / REPLY_KEY).read_text() != first_key
    assert not any((player.folder / REPLIES).iterdir())
    ready = (player.folder / REPLY_KEY).read_bytes().strip()
    assert is_in_memory(player, ready), "the search finds what is there"
    places = (200, 5_000, 12_000)
    assert [at for at in places if is_in_memory(player, reply[at : at + 64].tobytes())] == []
    assert player.end() == ""
    assert player.process.returncode == 0
    assert not (player.folder / REPLY_KEY).exists()


def test_muted_player_is_silent_and_says_why(player: RunningPlayer) -> None:
    player.reply(noise(0.2))

    wait_until(lambda: not any((player.folder / REPLIES).iterdir()), "it was taken")

    assert "a reply was not played: muted" in player.end()
    assert len(player.sounded()) == 0


def test_built_in_sound_is_played_on_request(player: RunningPlayer) -> None:
    player.open()

    assert player.hear.request_sound("done")

    wait_until(lambda: len(player.sounded()) > 0, "it sounds")


def test_player_is_confined_and_small(player: RunningPlayer) -> None:
    player.open()
    player.reply(noise(2.0))
    wait_until(lambda: len(player.sounded()) > 0, "it sounds")

    status = Path(f"/proc/{player.process.pid}/status").read_text()
    values = dict(re.findall(r"^(\w+):\s+(\S+)", status, re.MULTILINE))

    assert values["Seccomp"] == "2"
    assert values["NoNewPrivs"] == "1"
    assert int(values["VmHWM"]) < 96 * 1024


def test_second_player_is_refused(player: RunningPlayer, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "listener", "play", f"--home={tmp_path}"],
        capture_output=True,
        check=False,
    )

    assert done.returncode == 69
    assert b"another process already listens" in done.stderr
    assert player.process.poll() is None


def test_test_of_the_sounds_needs_hear(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "listener", "play", "--test", f"--home={tmp_path}"],
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 69
    assert "the sound wake was not played" in done.stderr


def is_in_memory(player: RunningPlayer, wanted: bytes) -> bool:
    """Return whether the player's memory holds these bytes; needs root."""
    pid = player.process.pid
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - a file of the kernel's
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, permissions = line.split()[:2]
            first, end = (int(number, 16) for number in span.split("-"))
            if not permissions.startswith("rw"):
                continue
            try:
                memory.seek(first)
                if wanted in memory.read(end - first):
                    return True
            except (OSError, ValueError):
                continue
    return False
