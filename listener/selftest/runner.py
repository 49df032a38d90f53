"""What the selftest plays, and when it looks: at the control, and along each path of the sound."""

import importlib.resources
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.clip import encode_clip
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.config import ClipSettings
from listener.errors import Unavailable
from listener.selftest import checks, sources, syscalls
from listener.selftest.checks import CheckResult, Moment, SkippedCheck
from listener.selftest.harness import Harness
from listener.selftest.processes import process_tree
from listener.selftest.setup import CLIP_S, WatermarkScene, compose, set_up
from listener.selftest.sources import AudioSource, RecordingSource
from listener.selftest.watermark import Watermark
from listener.storage.recordings import open_recording

PATHS: Final = ("recording", "device")
"""The file microphone; and PortAudio with ALSA's file plugin, in the microphone's own process."""

_SEED_BITS: Final = 32
_WORD_SAMPLES: Final = 10 * SAMPLE_RATE_HZ
_CONTROL_BLOCKS: Final = 3_000
_CONTROL_CLIP_SAMPLES: Final = 2 * SAMPLE_RATE_HZ


class SelfTest:
    """All that is played and looked for, once. One thread.

    Args:
        folder: an empty one, for all files of the run.
        clip: the device's settings.
        tracer: strace, or None.
        progress: is told what goes on.
    """

    def __init__(
        self, folder: Path, clip: ClipSettings, tracer: str | None, progress: Callable[[str], None]
    ) -> None:
        self._stage = set_up(folder, clip)
        self._ring_s = clip.ring_s
        self._tracer = tracer
        self._progress = progress

    def run(self, paths: Sequence[str] | None) -> Iterator[CheckResult | SkippedCheck]:
        """Look everywhere, and yield what is seen as it is seen.

        Args:
            paths: which ways the sound takes; all that there are by default.

        Raises:
            Unavailable: memory is closed to us, or a path that was named is not there.
            EarmarkError: hear did not live through it.
        """
        self._progress("the control leaks on purpose")
        yield from self._check_control()
        for name in PATHS:
            if paths and name not in paths:
                continue
            why = sources.explain_unavailable() if name == "device" else ""
            if why and paths:
                raise Unavailable(f"the path {name} is not there: {why}")
            if why:
                yield SkippedCheck(what=name, why=why)
                continue
            watermark = Watermark(secrets.randbits(_SEED_BITS))
            scene = compose(watermark, _word(), self._ring_s, CLIP_S)
            if name == "device":
                road: AudioSource = sources.AlsaSource(self._stage.folder, scene.samples)
            else:
                road = RecordingSource(self._stage.write_sound("scene.wav", scene.samples), scene)
            yield from self._check_source(road, scene, watermark)

    def _check_control(self) -> Iterator[CheckResult]:
        """Look where something must be found."""
        watermark = Watermark(secrets.randbits(_SEED_BITS))
        sound = watermark.signal(0, _CONTROL_BLOCKS)
        watermark.expect(encode_clip(sound[-_CONTROL_CLIP_SAMPLES:], "control"))
        path = self._stage.write_sound("control.wav", sound)
        log = self._stage.folder / "control.log"
        words = [sys.executable, "-m", "listener.selftest.leaky_listener", str(path), str(log)]
        trace = self._stage.folder / "control.trace"
        if self._tracer:
            words = syscalls.strace_command(words, self._tracer, trace)
        with subprocess.Popen(  # noqa: S603 - our control, perhaps behind strace
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as control:
            if control.stdout is None or control.stdout.readline() != b"forgotten\n":
                raise Unavailable("the control does not run", "is strace allowed to trace here?")
            seen = checks.scan_processes(process_tree(control.pid), watermark)
            control.communicate()
        for name, found in seen:
            yield checks.check_memory("control", "forgotten", name, found, must_find=True)
        if self._tracer:
            with trace.open(encoding="ascii", errors="replace") as lines:
                sent = syscalls.search_trace(lines, watermark)
            yield checks.check_calls("control", "leaky", sent, must_find=True)
        yield checks.check_files("control", "leaky's log", [log], watermark, must_find=True)

    def _check_source(
        self, road: AudioSource, scene: WatermarkScene, watermark: Watermark
    ) -> Iterator[CheckResult]:
        """Look at each moment of one run."""
        self._progress(f"{road.name}: {scene.length_s:.0f} s of sound, in its own time")
        with Harness(self._stage, road, scene, self._tracer) as listening:
            listening.wait_until_played(scene.full_s)
            for name, found in checks.scan_processes(listening.processes(), watermark):
                # hear must hold it now: or nothing was heard, or we are blind.
                if name == "hear":
                    yield checks.check_memory(road.name, "playing", name, found, must_find=True)
            for moment, come in _moments(
                listening, scene, watermark, scene_goes_on=road.is_scripted
            ):
                come()
                scanned = checks.scan_processes(listening.processes(), watermark)
                if all(name != "hear" for name, _ in scanned):
                    raise Unavailable(
                        f"hear ended before its memory was searched ({moment})",
                        "run it again while this machine does less",
                    )
                for name, found in scanned:
                    yield checks.check_memory(road.name, moment, name, found, must_find=False)
            listening.finish()
            self._progress(f"{road.name}: system calls and files")
            if self._tracer:
                yield from checks.check_all_calls(road.name, listening.sent_data(watermark))
        files = self._stage.files()
        yield checks.check_files(road.name, "the home's files", files, watermark, must_find=False)


def _moments(
    listening: Harness, scene: WatermarkScene, watermark: Watermark, *, scene_goes_on: bool
) -> tuple[tuple[Moment, Callable[[], None]], ...]:
    """Return what must hold nothing when, and what waits for that."""

    def muted() -> None:
        listening.wait_until_played(scene.mute_s)
        listening.mute("on")
        listening.wait_for("muted")
        if scene_goes_on:
            listening.wait_until_played(scene.muted_s)

    def sealed() -> None:
        listening.mute("off")
        clip = listening.wait_for("sealed")
        first = round(clip["time_s"] * SAMPLE_RATE_HZ)
        end = first + round(clip["length_s"] * SAMPLE_RATE_HZ)
        watermark.expect(encode_clip(scene.samples[first:end], "clip"))
        listening.wait_until_played(scene.sealed_s)

    return (
        ("forgotten", lambda: listening.wait_until_played(scene.forgotten_s)),
        ("muted", muted),
        ("sealed", sealed),
    )


def _word() -> Samples:
    """Return the wake word, spoken by a synthesiser."""
    word = importlib.resources.files("listener.selftest") / "word.flac"
    with importlib.resources.as_file(word) as path, open_recording(path) as recording:
        samples = recording.read(_WORD_SAMPLES)
    return np.zeros(0, np.int16) if samples is None else samples
