"""Speed of engines on this machine: real-time factor and CPU time, beside their accuracy.

One engine after the other scores the same audio of the corpus in this process, with one thread and
without cached scores; decoding is not counted. The CPU time of an engine that is another program is
read from ``/proc``.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import EarmarkError
from listener.evaluate.corpus.items import Corpus, InvalidItem
from listener.evaluate.corpus.stream import open_playable
from listener.evaluate.engines.external import ExternalEngine
from listener.evaluate.engines.interface import Engine, EngineRecipe
from listener.evaluate.job import get_engine, limit_threads
from listener.evaluate.metrics.results import EngineSpeed

AUDIO_S: Final = 60.0
"""Most seconds of audio that are scored in each run."""
RUNS: Final = 3
"""Runs of each engine after a warm-up; the median is the result."""
WARM_UP_S: Final = 2.0

_BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ
_AFTER_NAME: Final = 2
"""First field of ``/proc/PID/stat`` after the name of the program."""
_UTIME: Final = 13
"""Index of the field ``utime``, in clock ticks; ``stime`` follows (proc(5))."""


def measure_speeds(
    recipes: Iterable[tuple[str, EngineRecipe]],
    corpus: Corpus,
    channel: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[EngineSpeed, ...]:
    """Measure the speed of each engine on the first audio of a corpus.

    Args:
        recipes: name and recipe of each engine.
        corpus: the corpus; up to ``AUDIO_S`` of it are read into memory.
        channel: index of the channel of its files.
        clock: elapsed time in seconds.

    Returns:
        A speed for each engine that can be built; nothing without audio.
    """
    limit_threads()
    audio = _read_audio(corpus, channel)
    if not len(audio):
        return ()
    speeds = []
    for name, recipe in recipes:
        try:
            engine = get_engine(recipe)
            speeds.append(_measure(name, engine, audio, clock))
        except EarmarkError:
            continue  # the evaluation reports it
    return tuple(speeds)


def _measure(name: str, engine: Engine, audio: Samples, clock: Callable[[], float]) -> EngineSpeed:
    engine.track(_blocks(audio[: round(WARM_UP_S * SAMPLE_RATE_HZ)]))
    audio_s = len(audio) / SAMPLE_RATE_HZ
    elapsed_s, used_s = [], []
    for _ in range(RUNS):
        cpu_s, began_s = _cpu_s(engine), clock()
        engine.track(_blocks(audio))
        elapsed_s.append(clock() - began_s)
        used_s.append(_cpu_s(engine) - cpu_s)
    return EngineSpeed(
        engine=name,
        audio_s=audio_s,
        real_time_factor=statistics.median(elapsed_s) / audio_s,
        cpu_share=statistics.median(used_s) / audio_s,
        runs=RUNS,
        machine=machine_name(),
    )


def machine_name() -> str:
    """Return the name of the processor, or of the board if the kernel names one."""
    model = Path("/proc/device-tree/model")
    if model.is_file():
        return model.read_text("utf-8", "replace").rstrip("\0\n")
    lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else os.uname().machine


def _cpu_s(engine: Engine) -> float:
    own_s = time.process_time()
    if not isinstance(engine, ExternalEngine):
        return own_s
    try:
        stat = Path(f"/proc/{engine.process_id}/stat").read_text("utf-8", "replace")
    except OSError:
        return own_s  # it exited, and its next answer says so
    fields = stat.rpartition(")")[2].split()
    ticks = sum(map(int, fields[_UTIME - _AFTER_NAME : _UTIME - _AFTER_NAME + 2]))
    return own_s + ticks / os.sysconf("SC_CLK_TCK")


def _read_audio(corpus: Corpus, channel: int) -> Samples:
    most = round(AUDIO_S * SAMPLE_RATE_HZ)
    blocks: list[Samples] = []
    length = 0
    for item in corpus:
        if isinstance(item, InvalidItem):
            continue
        try:
            playable, _ = open_playable(item, channel)
            for block in playable.play():
                blocks.append(block[: most - length].copy())
                length += len(blocks[-1])
                if length >= most:
                    return np.concatenate(blocks)
        except EarmarkError:
            continue  # the evaluation reports it
    return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)


def _blocks(audio: Samples) -> Iterable[Samples]:
    return (audio[at : at + _BLOCK_SAMPLES] for at in range(0, len(audio), _BLOCK_SAMPLES))
