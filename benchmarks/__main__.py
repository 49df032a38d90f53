"""``python -m benchmarks``: measure, write results.json, and update the tables in the documents."""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import (
    archive,
    backlog,
    cpu,
    crypto,
    evaluation,
    latency,
    memory,
    mute,
    voice,
    voiceprint,
)
from benchmarks.readme import demo_block, help_block, is_whole, write_block
from benchmarks.report import PARTS, headline, keep_results, render
from benchmarks.sounds import ROOT
from listener.errors import EarmarkError, Unavailable

RESULTS: Final = ROOT / "benchmarks" / "results.json"
VERSIONS: Final = ("numpy", "onnxruntime")


def main() -> int:
    """Measure the selected parts, and write results and tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        help="measure only these parts and keep the other results",
    )
    parser.add_argument("--rounds", type=int, default=7, help="runs of each engine (default: 7)")
    parser.add_argument(
        "--seconds", type=float, default=60, help="length of each recording (default: 60)"
    )
    parser.add_argument(
        "--render",
        action="store_true",
        help="measure nothing; write the tables, the transcript and the help into the documents",
    )
    arguments = parser.parse_args()
    parts = {
        "cpu": lambda: cpu.measure(arguments.rounds, arguments.seconds, _say),
        "memory": lambda: memory.measure(_say),
        "crypto": lambda: crypto.measure(_say),
        "latency": lambda: latency.measure(_say),
        "mute": lambda: mute.measure(_say),
        "archive": lambda: archive.measure(_say),
        "voice": lambda: voice.measure(_say),
        "voiceprint": lambda: voiceprint.measure(_say) | backlog.measure(_say),
        "evaluation": lambda: evaluation.measure(arguments.rounds, _say),
    }
    results = keep_results(_load_results(), _machine(), arguments.only, render=arguments.render)
    code = 0
    for part in () if arguments.render else arguments.only:
        began_s = time.monotonic()
        try:
            results[part] = parts[part]()
        except Unavailable as error:
            _say(f"NOT MEASURED  {part}: {error}")
            results[part] = {"skipped": str(error)}
        except EarmarkError as error:
            _say(f"FAILED  {part}: {error}")
            return 1
        _say(f"{part} took {time.monotonic() - began_s:.0f} s")
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", "utf-8")
    table = render(results)
    write_block("bench", table)
    write_block("figures", headline(results))
    if arguments.render:
        write_block("help", help_block())
        transcript = demo_block()
        if not is_whole(transcript):
            raise Unavailable("the demo left its last part out", "run make demo first")
        write_block("demo", transcript)
    print(table, end="")
    return code


def _load_results() -> dict[str, Any]:
    """Return the earlier results, of any machine; empty without any."""
    if not RESULTS.exists():
        return {}
    earlier: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return earlier


def _machine() -> dict[str, Any]:
    """Return the hardware and the versions that the results depend on."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
    }


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
