"""CPU of all words of a data directory at once, compared with one word. The first stage is on.

    python -m benchmarks.words HOME [--rounds N] [--seconds S]

HOME has words that ``earmark train PHRASE --first-stage --home HOME`` added. All shipped words and
these run at once in one process, alexa alone in another, in alternation, each with one thread, on
speech without wake words.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks import sounds
from benchmarks.engines import SETTLE_S, WORD, list_words
from benchmarks.figures import STAGES_ON, spread
from benchmarks.processes import worker
from listener.inference.catalogue import Catalogue


def main() -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path, help="data directory with trained words")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each")
    parser.add_argument("--seconds", type=float, default=600, help="length of the speech")
    arguments = parser.parse_args()
    names = list_words(Catalogue(arguments.home), only_openwakeword=False)
    talk, which = sounds.talk(arguments.seconds + SETTLE_S)
    print(f"{len(names)} words: {', '.join(names)}; {which}")
    ratios: list[float] = []
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        sound = f"{folder}/talk"
        talk.tofile(sound)
        for number in range(arguments.rounds):
            one, every = (
                worker("benchmarks.engines", engine, sound, repr(time.monotonic()), *home)
                for engine, *home in ((STAGES_ON,), ("earmark-home", str(arguments.home)))
            )
            ratios.append(every["cpu_ms_per_s"] / one["cpu_ms_per_s"])
            print(
                f"round {number + 1} of {arguments.rounds}  {WORD} {one['cpu_ms_per_s']:.2f} ms/s,"
                f" all {every['cpu_ms_per_s']:.2f} ms/s, {ratios[-1]:.2f} times"
            )
    print(f"all words divided by one: {spread(ratios)}, load {os.getloadavg()[0]:.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
