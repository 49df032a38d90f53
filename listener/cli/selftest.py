"""``earmark selftest``: play a watermark to hear, then look for it everywhere."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from listener.config import Config
from listener.errors import Unavailable
from listener.selftest import checks, syscalls
from listener.selftest.checks import SkippedCheck, Verdict
from listener.selftest.runner import PATHS, SelfTest
from listener.selftest.watermark import FORMS

_NO_TRACER: Final = "strace is not installed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``selftest`` takes."""
    parser.epilog = (
        "hear and send run as they always do, in a home of their own that is thrown away. hear\n"
        "gets a watermark to hear, in blocks of 1 ms; then silence, a mute and a wake word. Every\n"
        "page of memory of every process is searched for it, every call that writes or sends,\n"
        f"and every file: as {', '.join(FORMS[:4])},\n{', '.join(FORMS[4:])} and as FLAC.\n"
        "Beyond this search are sound in lists of Python numbers, filtered or resampled sound,\n"
        "features made of it, and the kernel's own buffers. A control that leaks on purpose must\n"
        "be caught, or the search is blind.\n\n"
        "It needs root, or: unshare --user --map-root-user earmark selftest"
    )
    parser.add_argument(
        "--path",
        choices=PATHS,
        action="append",
        help="the way the sound takes; may be repeated (default: each that this machine has)",
    )
    parser.add_argument("--no-trace", action="store_true", help="leave out system calls (strace)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Look everywhere; return 0 when all is as it must be, 1 when it is not.

    Raises:
        Unavailable: memory is closed to us, strace is missing, or a path that was asked for.
        EarmarkError: hear did not live through it.
    """
    write = checks.to_json if arguments.json else checks.to_text
    tracer = None if arguments.no_trace else syscalls.find_strace()
    began_s = time.monotonic()
    looked = failed = 0
    is_complete = True
    with tempfile.TemporaryDirectory(prefix="earmark-selftest-") as folder:
        play = SelfTest(Path(folder), settings.clip, tracer, _progress)
        for event in play.run(arguments.path):
            print(write(event), flush=True)
            if isinstance(event, SkippedCheck):
                is_complete = False
                continue
            looked += 1
            failed += not event.is_good
    if tracer is None:
        is_complete = False
        why = _NO_TRACER if not arguments.no_trace else "--no-trace"
        print(write(SkippedCheck(what="system calls", why=why)))
    verdict = Verdict(
        looks=looked,
        failed=failed,
        good=not failed,
        complete=is_complete,
        took_s=round(time.monotonic() - began_s, 1),
    )
    print(write(verdict), flush=True)
    if not failed and tracer is None and not arguments.no_trace:
        raise Unavailable(
            _NO_TRACER, "apt install strace; earmark selftest --no-trace does without"
        )
    return 1 if failed else 0


def _progress(what: str) -> None:
    """Tell a person who waits; programs do not ask."""
    if sys.stderr.isatty():
        print(f"earmark: {what}", file=sys.stderr, flush=True)
