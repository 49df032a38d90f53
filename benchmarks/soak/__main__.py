"""``python -m benchmarks.soak``: eight hours of audio in about ten minutes."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.soak.accounts import HOUR_S, MOST_GROWTH_BYTES, table
from benchmarks.soak.run import Plan, soak
from listener.errors import EarmarkError


def main() -> int:
    """Run the soak test and print its result; return 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0, help="hours of audio (default: 8)")
    parser.add_argument(
        "--speed",
        type=float,
        default=100.0,
        help="speed of the sound card (default: 100 times real time)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of audio and faults (default: 1)")
    parser.add_argument(
        "--keep", metavar="DIR", help="keep the data directory and the logs in this new folder"
    )
    arguments = parser.parse_args()
    plan = Plan(sound_s=arguments.hours * HOUR_S, speed=arguments.speed, seed=arguments.seed)
    with tempfile.TemporaryDirectory(prefix="earmark-soak-") as name:
        folder = Path(arguments.keep or name)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            result = soak(folder, plan, _say)
        except EarmarkError as error:
            _say(f"FAILED  {error}")
            return 1
        accounts = result.accounts
        (folder / "memory.json").write_text(json.dumps(accounts.memory), "utf-8")
    _say(
        f"heard {accounts.heard_s / HOUR_S:.2f} h in {result.took_s:.0f} s,"
        f" {accounts.heard_s / result.took_s:.0f} times real time"
    )
    for what, counts in (("faults", result.faults), ("events", result.events)):
        _say(f"{what}: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    _say("started: " + ", ".join(f"{name} {n} times" for name, n in result.lives.items()))
    _say(
        "at the end: " + ", ".join(f"{k} {v / (1 << 20):.1f} MiB" for k, v in result.memory.items())
    )
    table(accounts, _say)
    growth = accounts.growth_bytes()
    _say(f"growth after the first hour: {growth / (1 << 20):.2f} MiB")
    if growth > MOST_GROWTH_BYTES:
        result.wrong.append(f"memory grew by {growth} bytes")
    for line in result.wrong:
        _say(f"WRONG  {line}")
    _say(f"{accounts.tallies} counters added up" if not result.wrong else "a check failed")
    return 1 if result.wrong else 0


def _say(line: str) -> None:
    print(f"soak: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
