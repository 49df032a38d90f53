"""``python -m tests.fleet``: the proofs of a fleet with real servers; `make fleet` calls it."""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fleet import scenes
from tests.fleet.estimate import estimate
from tests.fleet.stage import set_up
from tests.vm.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> int:
    """Run the scenes and print the figures; return 1 if one found a fault."""
    arguments = _parse()
    transcript = Transcript()
    say = transcript.say
    faults: list[str] = []
    say(
        f"{os.cpu_count()} cores, load {scenes.load()}; {arguments.speakers} simulated speakers,"
        f" {arguments.owners} owners, 2 brokers, 3 archives, PostgreSQL, SeaweedFS, on loopback"
    )
    with (
        tempfile.TemporaryDirectory(prefix="earmark-fleet-") as folder,
        set_up(Path(folder), arguments.speakers, arguments.owners) as stage,
    ):
        acts: dict[str, Callable[[], Iterator[str]]] = {
            "hung": lambda: scenes.hung(stage, say, arguments.hung),
            "throughput": lambda: scenes.throughput(stage, say, arguments.clips // 2),
            "killed": lambda: scenes.killed(stage, say, arguments.clips),
            "erased": lambda: scenes.erased(stage, say, arguments.erased),
            "redeemed": lambda: scenes.redeemed(stage, say),
            "restored": lambda: scenes.restored(stage, say, arguments.erased // 5),
            "swept": lambda: scenes.swept(stage, say, arguments.erased),
            "large": lambda: scenes.large(stage, say, arguments.rows, arguments.objects),
        }
        chosen = arguments.only.split(",") if arguments.only else list(acts)
        for name in chosen:
            begun_s = time.monotonic()
            say()
            say(f"{name}: load {scenes.load()}")
            for fault in acts[name]():
                faults.append(f"{name}: {fault}")
                say(f"FAULT  {fault}")
            say(f"{time.monotonic() - begun_s:.0f} s")
    say()
    for line in estimate(stage.clip_ms):
        say(line)
    say()
    say("every proof holds" if not faults else f"{len(faults)} faults")
    if arguments.page and not arguments.only:
        transcript.write("make fleet", Path(arguments.page))
    return 1 if faults else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    for name, default, what in (
        ("speakers", 2000, "simulated speakers"),
        ("owners", 200, "owners"),
        ("clips", 5000, "clips of the scene with kills"),
        ("hung", 400, "clips of the scene with a hung archive"),
        ("erased", 1000, "clips of the scene with an erasure"),
        ("rows", 1_000_000, "rows of the scenes with list and repair"),
        ("objects", 100_000, "objects of the scene with the repair"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} ({default})")
    parser.add_argument("--only", metavar="NAMES", help="these scenes, with commas")
    parser.add_argument("--page", metavar="FILE", help="write the output into this page")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
