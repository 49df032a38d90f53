"""Speed of the evaluation relative to real time, on one core and on two."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import soundfile

from benchmarks import sounds
from benchmarks.processes import worker
from listener.audio.pcm import SAMPLE_RATE_HZ

FILES: Final = 48
FILE_S: Final = 60.0
WARM_UP_FILES: Final = 4


def measure(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Evaluate the same FLAC files on one core and on two, ``rounds`` times in alternation.

    Args:
        rounds: number of runs with each number of cores.
        say: called with each line of progress.
    """
    speech, which = sounds.speech(FILE_S * FILES)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        length = round(FILE_S * SAMPLE_RATE_HZ)
        for number in range(FILES):
            piece = speech[number * length : (number + 1) * length]
            soundfile.write(Path(folder) / f"{number:02}.flac", piece, SAMPLE_RATE_HZ)
        for number in range(rounds):
            for jobs in (1, 2):
                run = worker("benchmarks.evaluation", str(jobs), folder)
                runs.append({"round": number, "jobs": jobs, **run})
                cpu_text = f"{run['times_per_cpu']:.0f} by CPU time, " if jobs == 1 else ""
                say(
                    f"round {number + 1} of {rounds}  {jobs} jobs"
                    f"  {cpu_text}{run['times']:.0f} times real time"
                )
    return {"rounds": rounds, "seconds": FILE_S * FILES, "speech": which, "runs": runs}


def main() -> None:
    """Evaluate a folder once, after a few files to start the workers; print the speed."""
    from listener.evaluate.engines.earmark import earmark_recipe
    from listener.evaluate.plan import CorpusSettings, EvaluationPlan, complete_plan
    from listener.evaluate.pool import Processes
    from listener.evaluate.runner import Evaluation

    jobs, folder = int(sys.argv[1]), sys.argv[2]
    home = Path(tempfile.gettempdir()) / "earmark-benchmark-home"

    def run(*only: str) -> None:
        plan = complete_plan(
            EvaluationPlan(corpus=(CorpusSettings(path=folder),), only=only), "benchmark"
        )
        Evaluation(
            plan, lambda engine: earmark_recipe(engine.name, home, engine.words), Processes(jobs)
        ).run()

    run(*(f"*/{number:02}.flac" for number in range(WARM_UP_FILES)))
    before, began_s = _cpu_s(), time.monotonic()
    run()
    wall_s, cpu_s = time.monotonic() - began_s, _cpu_s() - before
    print(
        json.dumps(
            {
                "times": FILE_S * FILES / wall_s,
                # CPU time of children counts after their exit only, so only without children.
                "times_per_cpu": FILE_S * FILES / cpu_s if jobs == 1 else 0.0,
                "wall_s": wall_s,
            }
        )
    )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
