"""CPU time, start and memory of each engine, in separate processes and in alternation."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import sounds
from benchmarks.engines import SETTLE_S, WORD, list_words
from benchmarks.figures import ALL_WORDS, ENGINES, SOUNDS, STAGES_ON
from benchmarks.processes import worker
from listener.inference.catalogue import Catalogue


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run each engine on each recording, ``rounds`` times in alternation.

    Args:
        rounds: number of runs of each engine on each recording.
        seconds: measured length of each recording, after a warm-up.
        say: called with each line of progress.
    """
    length_s = seconds + SETTLE_S
    talk, which = sounds.talk(length_s)
    speech, with_word = sounds.speech(length_s)
    heard = {
        "talk": talk,
        "speech": speech,
        "quiet": sounds.quiet_room(length_s),
        "silence": sounds.silence(length_s),
    }
    engines = [engine for engine in ENGINES if _is_available(engine)]
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        for name, samples in heard.items():
            samples.tofile(Path(folder) / name)
        for number in range(rounds):
            for sound in SOUNDS:
                for engine in engines:
                    run = worker(
                        "benchmarks.engines", engine, f"{folder}/{sound}", repr(time.monotonic())
                    )
                    runs.append({"round": number, "sound": sound, "engine": engine, **run})
                    say(
                        f"round {number + 1} of {rounds}  {SOUNDS[sound]:<22}"
                        f"{ENGINES[engine]:<24}{run['cpu_ms_per_s']:8.3f} ms/s"
                    )
    described = {"talk": which, "speech": with_word}
    return {"rounds": rounds, "seconds": seconds, **described, "runs": runs}


def _is_available(engine: str) -> bool:
    """Return whether an engine can be measured: the first stage must know the words."""
    if engine not in {STAGES_ON, ALL_WORDS}:
        return True
    catalogue = Catalogue(Path(os.devnull))
    names = list_words(catalogue, only_openwakeword=True) if engine == ALL_WORDS else [WORD]
    return catalogue.first_stage([catalogue.load(name) for name in names]) is not None
