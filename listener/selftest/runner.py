"""Sequence of the self-test: the positive control, then the checks for each audio source."""

import importlib.resources
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.clip import encode_clip
from listener.audio.flac import BLOCK_SAMPLES
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.config import ClipSettings
from listener.errors import EarmarkError, Unavailable
from listener.selftest import checks, sources, syscalls
from listener.selftest.checks import CheckResult, Moment, SandboxReport, SkippedCheck
from listener.selftest.harness import Harness
from listener.selftest.processes import EMBEDDING, process_tree
from listener.selftest.setup import CLIP_S, MARGIN_S, WatermarkScene, compose, set_up
from listener.selftest.sources import AudioSource, RecordingSource
from listener.selftest.watermark import Watermark
from listener.storage.recordings import open_recording
from listener.voice.limits import LONGEST_PRE_ROLL_MS

VOICE: Final = "voice"
PATHS: Final = ("recording", "device", VOICE)
"""Audio sources: the file microphone, PortAudio with ALSA's file plugin, and the file microphone
with attribution by voice, which compares the clip in a process of its own."""

_SEED_BITS: Final = 32
_WORD_SAMPLES: Final = 10 * SAMPLE_RATE_HZ
_CONTROL_BLOCKS: Final = 3_000
_CONTROL_CLIP_SAMPLES: Final = 2 * SAMPLE_RATE_HZ


class SelfTest:
    """One run of the self-test. One thread.

    Args:
        folder: empty folder for all files of the run.
        clip: the device's clip settings; `ring_s` and `provisional_parts` are used.
        tracer: path of strace, or None.
        progress: called with a message at each step.
        compares_voices: whether the device attributes clips by voice.
    """

    def __init__(
        self,
        folder: Path,
        clip: ClipSettings,
        tracer: str | None,
        progress: Callable[[str], None],
        *,
        compares_voices: bool = False,
    ) -> None:
        self._compares_voices = compares_voices
        self._setup = set_up(folder, clip)
        self._ring_s = clip.ring_s
        self._has_parts = clip.provisional_parts
        self._tracer = tracer
        self._progress = progress

    def run(
        self, paths: Sequence[str] | None
    ) -> Iterator[CheckResult | SandboxReport | SkippedCheck]:
        """Run all checks and yield their results.

        Args:
            paths: audio sources to use; by default each that this machine has, and `VOICE` only
                where the device attributes clips by voice.

        Raises:
            Unavailable: memory may not be read, or a source in ``paths`` is not available.
            EarmarkError: hear or send failed.
        """
        self._progress("positive control, which leaks on purpose")
        yield from self._check_control()
        for name in PATHS:
            if name not in paths if paths else name == VOICE and not self._compares_voices:
                continue
            why = sources.explain_unavailable() if name == "device" else ""
            if why and paths:
                raise Unavailable(f"the path {name} is not available: {why}")
            if why:
                yield SkippedCheck(what=name, why=why)
                continue
            watermark = Watermark(secrets.randbits(_SEED_BITS))
            word = _word()
            # With parts, speech follows: a second word.
            spoken = np.concatenate((word, word)) if self._has_parts else word
            scene = compose(watermark, spoken, self._ring_s, CLIP_S, mutes_twice=name == VOICE)
            if name == "device":
                source: AudioSource = sources.AlsaSource(self._setup.folder, scene.samples)
            else:
                recording = self._setup.write_sound("scene.wav", scene.samples)
                source = RecordingSource(recording, scene, name)
            if name == VOICE:
                end = round((scene.sealed_s - self._ring_s - MARGIN_S) * SAMPLE_RATE_HZ)
                self._setup.enrol(scene.samples[end - round(CLIP_S * SAMPLE_RATE_HZ) : end])
            yield from self._check_source(source, scene, watermark)

    def _check_control(self) -> Iterator[CheckResult]:
        """Check that the search finds what the leaky listener leaves."""
        watermark = Watermark(secrets.randbits(_SEED_BITS))
        sound = watermark.signal(0, _CONTROL_BLOCKS)
        watermark.expect(encode_clip(sound[-_CONTROL_CLIP_SAMPLES:], "control"))
        path = self._setup.write_sound("control.wav", sound)
        log = self._setup.folder / "control.log"
        command = [sys.executable, "-m", "listener.selftest.leaky_listener", str(path), str(log)]
        trace = self._setup.folder / "control.trace"
        if self._tracer:
            command = syscalls.strace_command(command, self._tracer, trace)
        with subprocess.Popen(  # noqa: S603 - our control, perhaps behind strace
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as control:
            if control.stdout is None or control.stdout.readline() != b"forgotten\n":
                raise Unavailable(
                    "the positive control does not run",
                    "check that strace may trace here, or use --no-trace",
                )
            scans = checks.scan_processes(process_tree(control.pid), watermark)
            control.communicate()
        for name, scan in scans:
            yield checks.check_memory("control", "forgotten", name, scan, must_find=True)
        if self._tracer:
            with trace.open(encoding="ascii", errors="replace") as lines:
                sent = syscalls.search_trace(lines, watermark)
            yield checks.check_calls("control", "leaky", sent, must_find=True)
        yield checks.check_files("control", "leaky's log", [log], watermark, must_find=True)

    def _check_source(
        self, source: AudioSource, scene: WatermarkScene, watermark: Watermark
    ) -> Iterator[CheckResult | SandboxReport]:
        """Run hear and send with one source, and check each moment of the scene."""
        self._progress(f"{source.name}: {scene.length_s:.0f} s of audio, in real time")
        with Harness(self._setup, source, scene, self._tracer) as harness:
            harness.wait_until_played(scene.full_s)
            for name, scan in checks.scan_processes(harness.processes(), watermark):
                # hear must hold the watermark now, or the search does not work.
                if name == "hear":
                    yield checks.check_memory(source.name, "playing", name, scan, must_find=True)
            for moment, wait in _moments(
                harness,
                scene,
                watermark,
                is_muted_by_scene=source.is_scripted,
                has_parts=self._has_parts,
            ):
                wait()
                scans = checks.scan_processes(harness.processes(), watermark)
                if all(name != "hear" for name, _ in scans):
                    raise Unavailable(
                        f"hear ended before its memory was searched ({moment})",
                        "run the selftest again while this machine is less busy",
                    )
                names = {name for name, _ in scans}
                if moment == "sealed" and scene.second_mute_s and EMBEDDING not in names:
                    raise Unavailable(
                        "the embedding process ended before its memory was searched",
                        "run the selftest again while this machine is less busy",
                    )
                if moment == "muted-after-clip" and EMBEDDING in names:
                    raise EarmarkError("the embedding process runs although mute is on")
                for name, scan in scans:
                    yield checks.check_memory(source.name, moment, name, scan, must_find=False)
            yield SandboxReport(path=source.name, landlock=harness.landlock)
            harness.finish()
            self._progress(f"{source.name}: system calls and files")
            if self._tracer:
                yield from checks.check_all_calls(source.name, harness.sent_data(watermark))
        files = self._setup.files()
        yield checks.check_files(source.name, "the home's files", files, watermark, must_find=False)


def _moments(
    harness: Harness,
    scene: WatermarkScene,
    watermark: Watermark,
    *,
    is_muted_by_scene: bool,
    has_parts: bool,
) -> tuple[tuple[Moment, Callable[[], None]], ...]:
    """Return the moments at which no process may hold the watermark, each with its wait."""

    def muted() -> None:
        harness.wait_until_played(scene.mute_s)
        harness.mute("on")
        harness.wait_for("muted")
        if is_muted_by_scene:
            harness.wait_until_played(scene.muted_s)

    def sealed() -> None:
        harness.mute("off")
        clip = harness.seal_clip()
        first = round(clip["time_s"] * SAMPLE_RATE_HZ)
        end = first + round(clip["length_s"] * SAMPLE_RATE_HZ)
        watermark.expect(encode_clip(scene.samples[first:end], "clip"))
        # The command copy begins later, so its encoder packs the samples into other blocks.
        skipped = _command_skip_samples(end - first)
        watermark.expect(encode_clip(scene.samples[first + skipped : end], "command"))
        if has_parts:
            for last_block in _part_ends(scene.samples[first + skipped : end]):
                watermark.expect(encode_clip(last_block, "part"))
        harness.wait_until_played(scene.sealed_s)

    moments: list[tuple[Moment, Callable[[], None]]] = [
        ("forgotten", lambda: harness.wait_until_played(scene.forgotten_s)),
        ("muted", muted),
        ("sealed", sealed),
    ]
    if scene.second_mute_s is not None:
        muted_s = scene.second_mute_s + scene.muted_s - scene.mute_s
        moments.append(("muted-after-clip", lambda: harness.wait_until_played(muted_s)))
    return tuple(moments)


def _command_skip_samples(length_samples: int) -> int:
    """Return how much of the begin of the clip its command copy leaves out."""
    longest = LONGEST_PRE_ROLL_MS * SAMPLE_RATE_HZ // 1_000 + round(CLIP_S * SAMPLE_RATE_HZ)
    return max(0, length_samples - longest)


def _part_ends(command: Samples) -> Iterator[Samples]:
    """Yield the last block that a provisional part of a command may have.

    A part begins as the command does, so that its other blocks are the command's, and ends with any
    frame before the endpoint; this command ends with a frame too.
    """
    for end in range(len(command) - FRAME_SAMPLES, 0, -FRAME_SAMPLES):
        block = end // BLOCK_SAMPLES * BLOCK_SAMPLES
        if block < end:
            yield command[block:end]


def _word() -> Samples:
    """Return the wake word as spoken by a synthesiser; int16, shape (n,)."""
    word = importlib.resources.files("listener.selftest") / "word.flac"
    with importlib.resources.as_file(word) as path, open_recording(path) as recording:
        samples = recording.read(_WORD_SAMPLES)
    return np.zeros(0, np.int16) if samples is None else samples
