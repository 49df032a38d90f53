"""Time of a block in hear while another process floods ``voice.sock``, by kind of datagram.

``python -m benchmarks.voice_flood``: the listener with its real detector on speech, with an open
ask that is renewed every 2 s. The kinds alternate in stretches of 2 s of the same sound, so that
other load of the machine falls on all of them. CPU time of the thread
is measured besides the elapsed time, which the flood also lengthens by the core that it takes.
"""

import json
import multiprocessing
import os
import resource
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.ear import build_listener
from benchmarks.figures import percentile
from benchmarks.sounds import speech
from listener import config
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame
from listener.envelope import keys
from listener.hear.memory import allocate_locked
from listener.hear.publisher import EventPublisher
from listener.hear.voice_runtime import VoiceRuntime
from listener.ipc.datagrams import Outbox
from listener.ipc.notices import AskNotice, Notice
from listener.ipc.voice_paths import VOICE_SOCKET
from listener.storage.home import Home
from listener.voice import messages
from listener.voice.consent_table import ConsentTable, KeptConsent
from listener.voice.messages import Answer

KINDS: Final = ("none", "junk", "other ask", "forged")
STRETCH_FRAMES: Final = 25
ROUNDS: Final = 40
_DEVICE: Final = "bench"
_BURST: Final = 64
_KIB: Final = 1024


class _LastAsk:
    """Sink of notices that keeps the last ask."""

    def __init__(self) -> None:
        self.nonce = "0" * 32

    def send(self, notice: Notice) -> bool:
        if isinstance(notice, AskNotice):
            self.nonce = messages.parse_ask(bytes(notice.message)).statement.ask
        return True


def measure(say: Callable[[str], None], rounds: int = ROUNDS) -> dict[str, Any]:
    """Return percentiles of the time of a block by kind of flood, in ms.

    Args:
        say: called with each line of progress.
        rounds: stretches of each kind.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        return _measure(Path(name), say, rounds)


def _measure(folder: Path, say: Callable[[str], None], rounds: int) -> dict[str, Any]:
    home = Home(folder)
    key = home.device_key()
    owner = str(pyrage.x25519.Identity.generate().to_public())
    home.change_roster(
        lambda roster: (
            roster.with_owner("ada", owner)
            .with_challenge("ada", "yes", 0)
            .with_confirmation("ada", "yes", 1)
        )
    )
    assist = keys.device_text(Ed25519PrivateKey.generate().public_key())
    consent = KeptConsent(assist=assist, n=1, okey=keys.owner_id(owner), on=1, owner="ada")
    home.change_consents(lambda _table: ConsentTable((consent,)))
    last = _LastAsk()
    publisher = EventPublisher(lambda _event: None, last, key.sign, lambda: None)
    settings = config.Config()
    memory = allocate_locked(round(settings.clip.ring_s * SAMPLE_RATE_HZ))
    with closing(VoiceRuntime(home, publisher)) as runtime:
        voice = runtime.control(
            device=_DEVICE,
            key=key,
            boot="0" * 16,
            keeper="ada",
            run_soon=lambda _chore: None,
            reserve_seq=lambda: None,
        )
        listener, sealer = build_listener(folder, settings, memory, voice)
        path = next(folder.rglob(VOICE_SOCKET))
        wall_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
        cpu_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
        sound, _ = speech(rounds * STRETCH_FRAMES * FRAME_SAMPLES / SAMPLE_RATE_HZ)
        first_kib = 0
        position = 0
        for number in range(rounds):
            for kind in KINDS:
                voice.ask(-30.0, 0.0)
                flood = None if kind == "none" else _start_flood(path, kind, last.nonce)
                for index in range(number * STRETCH_FRAMES, (number + 1) * STRETCH_FRAMES):
                    samples = sound[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]
                    frame = Frame(samples, position)
                    position += FRAME_SAMPLES
                    began_s, cpu_s = time.perf_counter(), time.thread_time()
                    listener.process(frame)
                    cpu_ms[kind].append((time.thread_time() - cpu_s) * 1e3)
                    wall_ms[kind].append((time.perf_counter() - began_s) * 1e3)
                if flood is not None:
                    flood.kill()
                    flood.join()
            if number == 0:
                first_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sealer.close()
        last_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results: dict[str, Any] = {
        kind: {
            "cpu_p50_ms": round(percentile(cpu_ms[kind], 50), 3),
            "cpu_p99_ms": round(percentile(cpu_ms[kind], 99), 3),
            "p50_ms": round(percentile(wall_ms[kind], 50), 3),
            "p99_ms": round(percentile(wall_ms[kind], 99), 3),
        }
        for kind in KINDS
    }
    results["malformed"] = voice.malformed
    results["rejected"] = {reason.name: count for reason, count in voice.rejected.items()}
    results["grown_mib"] = round((last_kib - first_kib) / _KIB, 2)
    results["load"] = os.getloadavg()[0]
    for name, values in results.items():
        say(f"{name}: {values}")
    return results


def _start_flood(path: Path, kind: str, nonce: str) -> multiprocessing.Process:
    """Start a process that sends as many datagrams as the socket takes."""
    process = multiprocessing.Process(target=_flood, args=(path, kind, nonce), daemon=True)
    process.start()
    return process


def _flood(path: Path, kind: str, nonce: str) -> None:
    key = Ed25519PrivateKey.generate()
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    payloads = []
    for _ in range(_BURST):
        if kind == "junk":
            payloads.append(secrets.token_bytes(512))
            continue
        ask = nonce if kind == "forged" else secrets.token_hex(16)
        answer = Answer(ask=ask, device=_DEVICE, key=recipient, verdict="speak")
        payloads.append(messages.sign_message(answer, key.sign))
    outbox = Outbox(path)
    while True:
        for payload in payloads:
            if not outbox.send(payload):
                time.sleep(0.0005)  # the queue is full


if __name__ == "__main__":
    print(json.dumps(measure(print), indent=1))
