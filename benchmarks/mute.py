"""Time from the mute switch's edge to an ended microphone process and wiped buffers, and back.

The listener with its real detector and the real microphone process with PortAudio, on an ALSA
device that plays a FIFO in real time. The switch is a pipe, so the kernel's handling of a GPIO line
and its debounce are not included.
"""

import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.ear import build_listener
from benchmarks.figures import percentile
from benchmarks.room import CARD, room
from listener import config
from listener.audio.pcm import SAMPLE_RATE_HZ, Frame, GapReason, Samples, Sound
from listener.errors import Unavailable
from listener.hear.gate import listen_to_device
from listener.hear.memory import allocate_locked
from listener.hear.microphone.devices import load_portaudio
from listener.hear.microphone.protocol import FailedRecord, OpenedRecord
from listener.hear.mute.controller import MuteController
from listener.hear.mute.state import MuteFiles
from listener.hear.mute.switch import LineSwitch
from listener.ipc import control
from listener.spool.ledger import KernelClock
from listener.system.systemd import StopSignal

EDGES: Final = 200
LIMIT_S: Final = 120


def measure(say: Callable[[str], None], edges: int = EDGES) -> dict[str, Any]:
    """Mute and unmute by the switch; return percentiles of the time that each took, in ms.

    Args:
        say: called with each line of progress.
        edges: number of times to mute.

    Raises:
        Unavailable: PortAudio is not installed, or no audio arrived.
    """
    load_portaudio()
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        with room(folder), closing(_PipeSwitch()) as switch:
            shut_ms, open_ms = _Session(folder, switch, edges).run()
    shut_p50, shut_p99 = percentile(shut_ms, 50), percentile(shut_ms, 99)
    open_p50, open_p99 = percentile(open_ms, 50), percentile(open_ms, 99)
    say(f"{len(shut_ms)} edges: muted p50 {shut_p50:.1f} ms, p99 {shut_p99:.1f} ms")
    say(f"unmuted: p50 {open_p50:.0f} ms, p99 {open_p99:.0f} ms")
    return {
        "edges": len(shut_ms),
        "shut_p50_ms": round(shut_p50, 3),
        "shut_p99_ms": round(shut_p99, 3),
        "shut_greatest_ms": round(max(shut_ms), 3),
        "open_p50_ms": round(open_p50, 3),
        "open_p99_ms": round(open_p99, 3),
        "open_greatest_ms": round(max(open_ms), 3),
    }


class _PipeSwitch:
    """Switch line over a pipe, for `LineSwitch`."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_down = False

    def put(self, *, down: bool) -> float:
        """Close or open the switch; return the time of the edge."""
        at_s = time.perf_counter()
        os.write(self._writer, b"\1" if down else b"\0")
        return at_s

    def fileno(self) -> int:
        return self._reader

    def was_muted(self) -> bool:
        try:
            edges = os.read(self._reader, 1 << 10)
        except BlockingIOError:
            return self._is_down
        self._is_down = bool(edges[-1])
        return self._is_down or 1 in edges

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


class _Session:
    """A listener and a thread that operates its switch."""

    def __init__(self, folder: Path, switch: _PipeSwitch, edges: int) -> None:
        self._folder = folder
        self._switch = switch
        self._edges = edges
        self._stop = StopSignal()
        self._seen: queue.Queue[tuple[float, bool]] = queue.Queue()
        """Times of a first frame (True), or of a mute with all buffers wiped (False)."""
        self._memory: list[Samples] = []
        self._failed: list[FailedRecord] = []

    def run(self) -> tuple[list[float], list[float]]:
        """Return the times to mute and to unmute, in ms."""
        settings = config.Config(microphone=config.MicrophoneSettings(device=CARD, constant_s=0))
        requests = control.ControlSocket(self._folder / control.SOCKET)
        mute = MuteController(
            LineSwitch("bench", lambda: self._switch, time.monotonic),
            MuteFiles(self._folder),
            requests,
            remote_unmute=False,
            now=partial(datetime.now, UTC),
            monotonic_s=time.monotonic,
            boot_clock=KernelClock(),
        )
        gate = listen_to_device(
            settings.microphone,
            switch=mute,
            stop=self._stop,
            tell=self._note_state,
            monotonic_s=time.monotonic,
        )
        memory = allocate_locked(round(settings.clip.ring_s * SAMPLE_RATE_HZ))
        self._memory.append(memory)
        listener, sealer = build_listener(self._folder, settings, memory)
        times: list[tuple[list[float], list[float]]] = []
        operator = threading.Thread(target=lambda: times.append(self._operate()))
        operator.start()
        limit = threading.Timer(LIMIT_S, self._stop.request)
        limit.start()
        with closing(requests):
            listener.listen(self._watched(gate.stream()), lambda: None)
        limit.cancel()
        sealer.close()
        operator.join()
        if not times or len(times[0][0]) < self._edges:
            cause = self._failed[-1].cause if self._failed else "too slow"
            raise Unavailable(f"the microphone did not follow every edge: {cause}")
        return times[0]

    def _note_state(self, state: OpenedRecord | FailedRecord) -> None:
        if isinstance(state, FailedRecord):
            self._failed.append(state)

    def _watched(self, sounds: Iterator[Sound]) -> Iterator[Sound]:
        """Yield the stream; note when the listener requests the next item after a change."""
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
                    raise RuntimeError(
                        "muted, but audio is not wiped or the microphone process runs"
                    )
                self._seen.put((now_s, False))
                is_open = False

    def _operate(self) -> tuple[list[float], list[float]]:
        shut_ms: list[float] = []
        open_ms: list[float] = []
        rng = np.random.default_rng(3)
        try:
            self._seen.get(timeout=LIMIT_S)
            for _ in range(self._edges):
                # At any position in a frame and any state of the listener.
                time.sleep(rng.uniform(0.02, 0.2))
                muted_s = self._switch.put(down=True)
                shut_ms.append((self._seen.get(timeout=LIMIT_S)[0] - muted_s) * 1_000)
                time.sleep(rng.uniform(0.0, 0.1))
                unmuted_s = self._switch.put(down=False)
                open_ms.append((self._seen.get(timeout=LIMIT_S)[0] - unmuted_s) * 1_000)
        except queue.Empty:
            pass
        finally:
            self._stop.request()
        return shut_ms, open_ms


def _microphones() -> list[int]:
    """Return the process ids of microphone processes."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8")
    return [int(pid) for pid in listing.split()]
