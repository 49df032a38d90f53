"""CPU, start and memory of each engine: separate processes, one after the other, in turns."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import sounds
from benchmarks.engines import SETTLE_S
from benchmarks.figures import ENGINES, SOUNDS
from benchmarks.processes import worker


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run each engine over each sound, ``rounds`` times in turns.

    Args:
        rounds: how many ratios there will be.
        seconds: how long each sound is; the first of it, to settle, is not counted.
        say: takes a line of progress.
    """
    length_s = seconds + SETTLE_S
    speech, which = sounds.speech(length_s)
    heard = {
        "speech": speech,
        "quiet": sounds.quiet_room(length_s),
        "silence": sounds.silence(length_s),
    }
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        for name, samples in heard.items():
            samples.tofile(Path(folder) / name)
        for number in range(rounds):
            for sound in SOUNDS:
                for engine in ENGINES:
                    run = worker(
                        "benchmarks.engines", engine, f"{folder}/{sound}", repr(time.monotonic())
                    )
                    runs.append({"round": number, "sound": sound, "engine": engine, **run})
                    say(
                        f"round {number + 1} of {rounds}  {SOUNDS[sound]:<16}"
                        f"{ENGINES[engine]:<24}{run['cpu_ms_per_s']:8.3f} ms/s"
                    )
    return {"rounds": rounds, "seconds": seconds, "speech": which, "runs": runs}
