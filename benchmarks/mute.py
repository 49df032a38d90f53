"""The mute switch's edge: until the microphone's process is gone and all is wiped, and back again.

The real ear with its real detector, the real microphone's process with the real PortAudio, on a
card of ALSA's that plays a FIFO at the pace of speech. The switch is a pipe: what a GPIO line and
its debounce add is the kernel's.
"""

import contextlib
import itertools
import os
import queue
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figures import percentile
from benchmarks.sounds import quiet_room
from listener import config, control
from listener.catalogue import Catalogue
from listener.errors import Unavailable
from listener.hear.counters import Counters
from listener.hear.gate import listen_to_device
from listener.hear.herald import Herald
from listener.hear.keeping import Keeping
from listener.hear.loop import Ear
from listener.hear.memory import ClipBuffers, allocate
from listener.hear.microphone.devices import portaudio
from listener.hear.microphone.records import Failed, Opened
from listener.hear.mute.lasting import Lasting
from listener.hear.mute.muting import Mute
from listener.hear.mute.switches import LineSwitch
from listener.hear.sealing import Stamp
from listener.inference.assembly import build_detector
from listener.inference.speech import SpeechNet
from listener.service import Stop
from listener.sound.clip import Recorder, longest_samples
from listener.sound.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, GapReason, Samples, Sound
from listener.sound.ring import Ring

EDGES: Final = 200
CARD: Final = "earmark-bench"
LIMIT_S: Final = 120


def measure(say: Callable[[str], None], edges: int = EDGES) -> dict[str, Any]:
    """Throw and release the switch; return how long each took, in ms.

    Args:
        say: takes a line of progress.
        edges: how often it is thrown.

    Raises:
        Unavailable: PortAudio is not installed, or no sound came.
    """
    portaudio()
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        with _card(folder), closing(_Hand()) as hand:
            shut_ms, open_ms = _Session(folder, hand, edges).run()
    shut_p50, shut_p99 = percentile(shut_ms, 50), percentile(shut_ms, 99)
    open_p50, open_p99 = percentile(open_ms, 50), percentile(open_ms, 99)
    say(f"{len(shut_ms)} edges: shut p50 {shut_p50:.1f} ms, p99 {shut_p99:.1f} ms")
    say(f"listening again: p50 {open_p50:.0f} ms, p99 {open_p99:.0f} ms")
    return {
        "edges": len(shut_ms),
        "shut_p50_ms": round(shut_p50, 3),
        "shut_p99_ms": round(shut_p99, 3),
        "shut_greatest_ms": round(max(shut_ms), 3),
        "open_p50_ms": round(open_p50, 3),
        "open_p99_ms": round(open_p99, 3),
        "open_greatest_ms": round(max(open_ms), 3),
    }


class _Hand:
    """A line that a hand throws: `switches.Line` behind a pipe."""

    def __init__(self) -> None:
        self._line, self._end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_down = False

    def put(self, *, down: bool) -> float:
        """Throw or release it; return when."""
        at_s = time.perf_counter()
        os.write(self._end, b"\1" if down else b"\0")
        return at_s

    def fileno(self) -> int:
        return self._line

    def was_shut(self) -> bool:
        try:
            edges = os.read(self._line, 1 << 10)
        except BlockingIOError:
            return self._is_down
        self._is_down = bool(edges[-1])
        return self._is_down or 1 in edges

    def close(self) -> None:
        os.close(self._line)
        os.close(self._end)


class _NoPost:
    def send(self, _notice: object) -> bool:
        return True


class _NoBorder:
    def put(self, clip: str, owner: str, seq: int, data: bytes) -> object:
        raise Unavailable(f"nothing is spooled here: {clip} {owner} {seq} {len(data)}")


def _useless_stamp() -> Stamp:
    """Return a stamp that has no number for any envelope: nothing is sealed here."""

    def next_seq() -> int:
        raise Unavailable("nothing is sealed here")

    return Stamp(
        device="bench",
        key=Ed25519PrivateKey.generate(),
        next_seq=next_seq,
        new_clip_id=lambda: str(uuid.uuid4()),
        boot="0" * 16,
        ttl_s=1,
    )


class _Session:
    """One ear, one hand, and a clock between them."""

    def __init__(self, folder: Path, hand: _Hand, edges: int) -> None:
        self._folder = folder
        self._hand = hand
        self._edges = edges
        self._stop = Stop()
        self._seen: queue.Queue[tuple[float, bool]] = queue.Queue()
        """When the ear was done with a first frame (True) or a mute (False), and all was wiped."""
        self._memory: list[Samples] = []
        self._failed: list[Failed] = []

    def run(self) -> tuple[list[float], list[float]]:
        """Return the times to shut and to open, in ms."""
        settings = config.Config(microphone=config.MicrophoneSettings(device=CARD, constant_s=0))
        requests = control.ControlSocket(self._folder / control.SOCKET)
        mute = Mute(
            LineSwitch("bench", lambda: self._hand, time.monotonic),
            Lasting(self._folder),
            requests,
            remote_unmute=False,
            now=partial(datetime.now, UTC),
            monotonic_s=time.monotonic,
        )
        gate = listen_to_device(
            settings.microphone,
            switch=mute,
            stop=self._stop,
            tell=self._told,
            monotonic_s=time.monotonic,
        )
        ear, keeping = self._ear(settings)
        times: list[tuple[list[float], list[float]]] = []
        hand = threading.Thread(target=lambda: times.append(self._throw()))
        hand.start()
        limit = threading.Timer(LIMIT_S, self._stop.ask)
        limit.start()
        with closing(requests):
            ear.listen(self._watched(gate.sounds()), lambda: None)
        limit.cancel()
        keeping.close()
        hand.join()
        if not times or len(times[0][0]) < self._edges:
            cause = self._failed[-1].cause if self._failed else "too slow"
            raise Unavailable(f"the microphone did not answer every edge: {cause}")
        return times[0]

    def _told(self, state: Opened | Failed) -> None:
        if isinstance(state, Failed):
            self._failed.append(state)

    def _ear(self, settings: config.Config) -> tuple[Ear, Keeping]:
        catalogue = Catalogue(self._folder)
        words = [catalogue.load(name) for name in settings.wake.words]
        memory = allocate(round(settings.clip.ring_s * SAMPLE_RATE_HZ))
        self._memory.append(memory)
        ring = Ring(memory)
        buffers = ClipBuffers(4, longest_samples(settings.clip))
        counters = Counters("bench", "0" * 16)
        herald = Herald(lambda _event: None, _NoPost(), lambda _data: bytes(64), lambda: None)
        keeping = Keeping(
            attribution=_NobodysClips(),
            stamp=_useless_stamp(),
            border=_NoBorder(),
            counters=counters,
            buffers=buffers,
            tell=herald.tell,
            is_patient=False,
        )
        ear = Ear(
            detector=build_detector(words, catalogue.embedding(), settings.wake),
            models={word.name: word.manifest.sha256 for word in words},
            ring=ring,
            recorder=Recorder(ring, SpeechNet(catalogue.speech()), settings.clip, buffers),
            keeping=keeping,
            counters=counters,
            herald=herald,
            now=partial(datetime.now, UTC),
            monotonic_s=time.monotonic,
        )
        return ear, keeping

    def _watched(self, sounds: Iterator[Sound]) -> Iterator[Sound]:
        """Pass sounds on; note when the ear came back for the next, with all wiped."""
        is_open: bool | None = None
        for sound in sounds:
            yield sound
            if isinstance(sound, Frame):
                if is_open is not True:
                    self._seen.put((time.perf_counter(), True))
                is_open = True
            elif sound.reason is GapReason.MUTED and is_open is not False:
                now_s = time.perf_counter()
                if any(memory.any() for memory in self._memory) or _microphones():
                    raise RuntimeError("muted, and not wiped or not gone")
                self._seen.put((now_s, False))
                is_open = False

    def _throw(self) -> tuple[list[float], list[float]]:
        shut_ms: list[float] = []
        open_ms: list[float] = []
        rng = np.random.default_rng(3)
        try:
            self._seen.get(timeout=LIMIT_S)
            for _ in range(self._edges):
                # Anywhere in a frame, and in whatever the ear is at.
                time.sleep(rng.uniform(0.02, 0.2))
                thrown_s = self._hand.put(down=True)
                shut_ms.append((self._seen.get(timeout=LIMIT_S)[0] - thrown_s) * 1_000)
                time.sleep(rng.uniform(0.0, 0.1))
                released_s = self._hand.put(down=False)
                open_ms.append((self._seen.get(timeout=LIMIT_S)[0] - released_s) * 1_000)
        except queue.Empty:
            pass
        finally:
            self._stop.ask()
        return shut_ms, open_ms


class _NobodysClips:
    def attribute(self, _clip: object) -> None:
        return None


def _microphones() -> list[int]:
    """Return the processes of ours that could hear."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8")
    return [int(pid) for pid in listing.split()]


@contextmanager
def _card(folder: Path) -> Iterator[None]:
    """Be a room: a card that plays a quiet one, in its own time."""
    fifo, settings = folder / "room", folder / "asoundrc"
    os.mkfifo(fifo)
    card = f'type file; slave.pcm "null"; file "/dev/null"; infile "{fifo}"; format raw'
    settings.write_text(f"</usr/share/alsa/alsa.conf>\npcm.{CARD} {{ {card} }}\n", "utf-8")
    before = os.environ.get("ALSA_CONFIG_PATH")
    os.environ["ALSA_CONFIG_PATH"] = str(settings)
    is_over = threading.Event()
    room = threading.Thread(target=_speak, args=(fifo, is_over), daemon=True)
    room.start()
    try:
        yield
    finally:
        is_over.set()
        room.join()
        if before is None:
            del os.environ["ALSA_CONFIG_PATH"]
        else:
            os.environ["ALSA_CONFIG_PATH"] = before


def _speak(fifo: Path, is_over: threading.Event) -> None:
    while not is_over.wait(0.002):
        # Only for whoever has it open: what nobody listened to is gone, as in a room.
        with contextlib.suppress(OSError):
            room = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            try:
                _speak_to(room, is_over)
            finally:
                os.close(room)


def _speak_to(room: int, is_over: threading.Event) -> None:
    """Write a frame after each frame's time, until nobody reads any more.

    Raises:
        BrokenPipeError: nobody does.
    """
    # In whole frames: with less, ALSA's file fills up what it reads with something older.
    frames = quiet_room(10).astype("<i2").reshape(-1, FRAME_SAMPLES)
    began_s = time.monotonic()
    for count in itertools.count(1):
        due_s = began_s + count * FRAME_SAMPLES / SAMPLE_RATE_HZ
        if is_over.wait(max(0.0, due_s - time.monotonic())):
            return
        os.write(room, frames[count % len(frames)].tobytes())
