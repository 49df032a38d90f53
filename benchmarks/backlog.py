"""Backlog of the listen loop while voices are compared, on one core that others use too.

``python -m benchmarks.backlog`` is the worker. It runs ``earmark hear`` in mode ``voice`` in real
time on a recording with two owners and a guest: first as it is, for the peaks of memory, and then
stamped, while hear, its embedding process and a busy loop share one core. The backlog of a frame is
the time from when it was due to the begin of its processing; under 80 ms, no second frame waits.
"""

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import stage_times
from benchmarks.figures import percentile
from benchmarks.processes import peak_rss_mib, running, worker
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.errors import Unavailable
from tests.system.voice_speaker import CHILD, FIXTURES, NAME, VoiceSpeaker, enrol, read_recorded

FRAME_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
BUSY: Final = (sys.executable, "-c", "while True: pass")
_POLL_S: Final = 0.1


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Run the worker; return backlogs in ms and the peak memory of hear and of the process in MiB.

    Args:
        say: called with each line of progress.

    Raises:
        Unavailable: hear failed, or made no clip.
    """
    measured = worker("benchmarks.backlog")
    say(
        f"backlog while voices are compared: p99 {measured['backlog_p99_ms']:.1f} ms, at worst"
        f" {measured['backlog_ms']:.1f} over {measured['frames']} frames, of other frames at worst"
        f" {measured['other_backlog_ms']:.1f}; clips of owners: {measured['clips']} of 2, and"
        f" {measured['loaded_clips']} of 2 beside the busy loop; hear"
        f" {measured['hear_mib']:.1f} MiB, the process {measured['child_mib']:.1f} MiB; load"
        f" {measured['load']:.1f}"
    )
    return measured


def list_backlogs(stamps: Sequence[tuple[str, float]]) -> tuple[list[float], list[float]]:
    """Return the backlog of each frame while the process is at work, and of each other frame.

    The process is at work from its start to the end of its comparison.

    Args:
        stamps: stages and their times in seconds, of `stamped_comparison`; frames without a gap.

    Returns:
        Both in seconds.
    """
    start_s = next(at_s for stage, at_s in stamps if stage == stage_times.START)
    order = itertools.count(1)
    is_at_work = False
    at_work, others = list[float](), list[float]()
    for stage, at_s in sorted(stamps, key=lambda stamp: stamp[1]):
        if stage in (stage_times.STARTING, stage_times.COMPARED):
            is_at_work = stage == stage_times.STARTING
        elif stage == stage_times.FRAME:
            due_s = start_s + next(order) * FRAME_S
            (at_work if is_at_work else others).append(at_s - due_s)
    return at_work, others


def main() -> None:
    """Run hear as it is, and beside a busy loop on one core; print the figures as JSON."""
    recorded = read_recorded()
    embeddings = {name: enrol(recorded.sentence(name, 0)) for name in ("ada", "bob")}
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        file = folder / "stamps"
        speaker = VoiceSpeaker(folder / "home", embeddings)
        words = speaker.words("--microphone", FIXTURES / NAME)
        peaks_mib = _listen(words)
        clips = len(speaker.clips())
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        with running(BUSY):
            before = os.getloadavg()[0]
            _listen([sys.executable, "-m", "benchmarks.stamped_comparison", str(file), *words[4:]])
            load = (before + os.getloadavg()[0]) / 2
        loaded_clips = len(speaker.clips()) - clips
        backlogs, others = list_backlogs(stage_times.read_stamps(file))
    if not clips:
        raise Unavailable("hear made no clip, so its peaks would be too low")
    if not backlogs:
        raise Unavailable("no frame was stamped while voices were compared")
    results = {
        "backlog_ms": max(backlogs) * 1000,
        "backlog_p99_ms": percentile(backlogs, 99) * 1000,
        "other_backlog_ms": max(others) * 1000,
        "frames": len(backlogs),
        "clips": clips,
        "loaded_clips": loaded_clips,
        "load": load,
        **peaks_mib,
    }
    json.dump(results, sys.stdout)


def _listen(words: Sequence[str]) -> dict[str, float]:
    """Run hear to its end; return its peak memory and that of its embedding process."""
    peaks_mib = {"hear_mib": 0.0, "child_mib": 0.0}
    with running(words) as hear:
        while hear.poll() is None:
            for name, pid in (("hear_mib", hear.pid), ("child_mib", _find_child(hear.pid))):
                peaks_mib[name] = max(peaks_mib[name], peak_rss_mib(pid) or 0.0)
            time.sleep(_POLL_S)
        if hear.returncode:
            raise Unavailable(f"earmark hear exited with code {hear.returncode}")
    return peaks_mib


def _find_child(pid: int) -> int:
    """Return the embedding process of hear; 0 while there is none."""
    try:
        for child in psutil.Process(pid).children():
            if CHILD in child.cmdline():
                return int(child.pid)
    except psutil.Error:
        pass
    return 0


if __name__ == "__main__":
    main()
