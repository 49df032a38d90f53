"""The speaker embedding of two seconds: ``python -m benchmarks.voiceprint FILE`` is the worker."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import sounds
from benchmarks.figures import percentile
from benchmarks.processes import peak_rss_mib, worker
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.system.malloc import overwrite_freed_memory, use_single_malloc_arena

CLIP_S: Final = 2
LONGEST_S: Final = 3
"""The longest clip that a process is given."""
REPEATS: Final = 40
WARM_UP: Final = 5


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Run the worker; return CPU times in ms and the peak memory of its process in MiB."""
    # Recordings are decoded here: the worker's peak is that of a process that is given clips.
    samples, _ = sounds.speech(LONGEST_S + REPEATS + WARM_UP)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.npy"
        np.save(file, samples)
        measured = worker("benchmarks.voiceprint", str(file))
    say(
        f"embedding of {CLIP_S} s: p50 {measured['embed_p50_ms']:.1f} ms of CPU,"
        f" p95 {measured['embed_p95_ms']:.1f}; peak {measured['process_mib']:.1f} MiB"
    )
    return measured


def main() -> None:
    """Embed clips in turns, with the memory options of hear; print the figures as JSON."""
    use_single_malloc_arena()
    overwrite_freed_memory()
    began_s = time.process_time()
    network = SpeakerEmbedding.load()
    load_s = time.process_time() - began_s
    samples = np.load(sys.argv[1])
    network.embed(samples[: LONGEST_S * SAMPLE_RATE_HZ])
    times_ms = []
    for second in range(REPEATS + WARM_UP):
        first = second * SAMPLE_RATE_HZ
        began_s = time.process_time()
        network.embed(samples[first : first + CLIP_S * SAMPLE_RATE_HZ])
        times_ms.append((time.process_time() - began_s) * 1000)
    results = {
        f"embed_p{percent}_ms": percentile(times_ms[WARM_UP:], percent) for percent in (50, 95)
    }
    results |= {
        "load_ms": load_s * 1000,
        "process_mib": peak_rss_mib(os.getpid()) or 0.0,
        "repeats": REPEATS,
    }
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
