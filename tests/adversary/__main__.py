"""``python -m tests.adversary``: the mixed run and the floods; `make adversary` calls it."""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from listener.errors import EarmarkError
from tests.adversary import flood_runner
from tests.adversary.mixed_run import MixedPlan, MixedResult, run_mixed
from tests.adversary.small_disk import can_mount
from tests.vm.transcript import Transcript

_NAMESPACE: Final = "EARMARK_ADVERSARY_NAMESPACE"
_UNAVAILABLE: Final = 69


def main() -> int:
    """Run all attacks and print a table; return 1 if one had an effect that it must not have."""
    arguments = _parse()
    if (code := _enter_namespace()) is not None:
        return code
    transcript = Transcript()
    say = transcript.say
    say(f"seed {arguments.seed}, {os.cpu_count()} cores, load {_load()}")
    rows: list[tuple[str, str, str]] = []
    faults: list[str] = []
    if arguments.seconds > 0:
        try:
            result = _run_mixed(arguments, transcript)
        except EarmarkError as error:
            say(f"FAILED  {error}")
            return _UNAVAILABLE
        rows += [(name, str(n), "") for name, n in sorted(result.attacks.items())]
        rows.append(("mixed run", f"{result.attacks.total()}", _outcome(result.faults)))
        faults += [f"mixed run: {fault}" for fault in result.faults]
    for flood in flood_runner.run_all(arguments.floods, arguments.flood_seconds, say):
        rows.append((flood.name, str(flood.attempts), _outcome(flood.faults)))
        faults += [f"{flood.name}: {fault}" for fault in flood.faults]
    say()
    _say_table(rows, transcript)
    say(f"load at the end {_load()}")
    for fault in faults:
        say(f"FAULT  {fault}")
    if faults:
        say(
            f"repeat: make adversary SEED={arguments.seed} SECONDS={arguments.seconds:g}"
            f" FLOOD_SECONDS={arguments.flood_seconds:g} FLOODS={arguments.floods}"
        )
    else:
        say("no attack had an effect that it must not have")
    if arguments.page:
        transcript.write("make adversary", Path(arguments.page))
    return 1 if faults else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.adversary", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=300, help="duration of the mixed run (default: 300)"
    )
    parser.add_argument("--seed", type=int, help="seed of the mixed run (default: a new one)")
    parser.add_argument(
        "--flood-seconds", type=float, default=600, help="duration of each flood (default: 600)"
    )
    parser.add_argument(
        "--floods",
        default="all",
        help=f"all, none, or names with commas: {', '.join(flood_runner.NAMES)}",
    )
    parser.add_argument("--page", metavar="FILE", help="write the output into this page")
    arguments = parser.parse_args()
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(1 << 31)
    return arguments


def _enter_namespace() -> int | None:
    """Run again in a namespace of its own where disks can be mounted, unless they can be here.

    Returns:
        The exit code of that run; None to continue in this process.
    """
    with tempfile.TemporaryDirectory() as name:
        if can_mount(Path(name)):
            return None
    if _NAMESPACE not in os.environ:
        environ = os.environ | {_NAMESPACE: "1"}
        command = ["unshare", "--user", "--map-root-user", "--mount"]
        command += [sys.executable, "-m", "tests.adversary", *sys.argv[1:]]
        return subprocess.run(command, env=environ, check=False).returncode
    print("earmark: error: disks cannot be mounted here", file=sys.stderr)
    print("earmark: hint: run it as root", file=sys.stderr)
    return _UNAVAILABLE


def _run_mixed(arguments: argparse.Namespace, transcript: Transcript) -> MixedResult:
    plan = MixedPlan(seconds=arguments.seconds, seed=arguments.seed, has_disks=True)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="earmark-adversary-") as name:
        result = run_mixed(
            Path(name), plan, lambda line: transcript.say(f"  mixed run, {line}, load {_load()}")
        )
    transcript.say(f"mixed run: {time.monotonic() - began_s:.0f} s")
    for kind, counts in (("counted", result.counts), ("started", result.starts)):
        transcript.say(f"  {kind}: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    for vitals in result.vitals:
        transcript.say(f"  {vitals.summary()}")
    return result


def _outcome(faults: list[str]) -> str:
    return f"{len(faults)} faults" if faults else "held"


def _say_table(rows: list[tuple[str, str, str]], transcript: Transcript) -> None:
    width = max((len(name) for name, _, _ in rows), default=0)
    transcript.say(f"{'attack':{width}}  {'count':>9}  result")
    for name, count, outcome in rows:
        transcript.say(f"{name:{width}}  {count:>9}  {outcome}".rstrip())


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
