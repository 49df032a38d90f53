"""Measures the assistant from packages alone and writes its page: ``make assist-accuracy``.

Synthetic voices say the plan's sentences to a home; counted is what changes. Then an hour of other
speech is given to it as if after a wake. The result goes to ``docs/engineering-log``.
"""

import argparse
import os
import sys
import tomllib
from pathlib import Path
from typing import Final

from benchmarks.assist import measure, page
from benchmarks.sounds import ROOT, recordings_folder
from listener.assist.understanding import model_files
from listener.errors import EarmarkError, Unavailable

PLAN: Final = Path(__file__).with_name("plan.toml")
HOME: Final = ROOT / "docs/reference/home.example.toml"
PAGE: Final = ROOT / "docs/engineering-log/assist-accuracy.md"
WORK: Final = ROOT / "build/assist"
WHOLE_S: Final = 3600.0


def main() -> int:
    """Run both measurements; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Measure the built-in recogniser of commands.")
    parser.add_argument("--part", type=int, default=1, metavar="N", help="each Nth command only")
    parser.add_argument("--speech-s", type=float, default=WHOLE_S, help="length of other speech")
    arguments = parser.parse_args()
    plan = tomllib.loads(PLAN.read_text())
    recordings = recordings_folder()
    if recordings is None:
        raise Unavailable("there are no recordings", "set EARMARK_RECORDINGS to their folder")
    folder = model_files.model_folder(WORK)
    if not (folder / model_files.WEIGHTS).exists():
        model_files.download(folder)
    setup = measure.Setup(plan, HOME.read_text(), folder, recordings, WORK)
    processes = len(os.sched_getaffinity(0))
    result = measure.measure(setup, arguments.part, arguments.speech_s, processes)
    text = page.write(plan, result)
    print(text)
    if (arguments.part, arguments.speech_s) == (1, WHOLE_S):
        PAGE.write_text(text)
    return 0 if result.is_met else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EarmarkError as problem:
        print(f"earmark: error: {problem}", file=sys.stderr)
        if problem.hint:
            print(f"earmark: hint: {problem.hint}", file=sys.stderr)
        sys.exit(problem.exit_code)
