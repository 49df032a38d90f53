"""``earmark selftest``: plays a watermark to hear, then searches memory, calls and files for it."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from listener.cli.main import with_examples
from listener.config import Config
from listener.errors import Unavailable
from listener.selftest import checks, syscalls
from listener.selftest.checks import SandboxReport, SkippedCheck, Verdict
from listener.selftest.runner import PATHS, SelfTest
from listener.selftest.watermark import FORMS

_NO_TRACER: Final = "strace is not installed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark selftest``."""
    parser.epilog = with_examples(
        "hear and send run as usual, in a temporary data directory. hear gets a watermark in\n"
        "blocks of 1 ms, then silence, a mute and a wake word. The watermark is then searched in\n"
        "all memory of all processes, in every system call that writes or sends, and in every\n"
        f"file: as {', '.join(FORMS[:4])},\n{', '.join(FORMS[4:])} and as FLAC.\n"
        "A control process that leaks on purpose must be found, or the search counts as failed.\n"
        "Not searched: audio in lists of Python numbers, filtered or resampled audio, features,\n"
        "pieces shorter than half a block, and buffers of the kernel.\n\n"
        "It needs root, or a user namespace: unshare --user --map-root-user earmark selftest",
        "sudo earmark selftest",
        "sudo earmark selftest --path recording --no-trace",
    )
    parser.add_argument(
        "--path",
        choices=PATHS,
        action="append",
        help="input of the audio; may be repeated (default: each that this machine has, and voice,"
        " a recording with attribution by voice, where attribution.mode compares voices)",
    )
    parser.add_argument(
        "--no-trace", action="store_true", help="do not trace system calls (needs no strace)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Run the checks; return 0 when all pass, 1 when one fails.

    Raises:
        Unavailable: memory cannot be read, strace is missing, or a requested input is missing.
        EarmarkError: hear exited early.
    """
    write = checks.to_json if arguments.json else checks.to_text
    tracer = None if arguments.no_trace else syscalls.find_strace()
    began_s = time.monotonic()
    checked = failed = 0
    is_complete = True
    with tempfile.TemporaryDirectory(prefix="earmark-selftest-") as folder:
        selftest = SelfTest(
            Path(folder),
            settings.clip,
            tracer,
            _progress,
            compares_voices=settings.attribution.mode != "keeper",
        )
        for event in selftest.run(arguments.path):
            print(write(event), flush=True)
            if isinstance(event, SkippedCheck):
                is_complete = False
                continue
            if isinstance(event, SandboxReport):
                continue
            checked += 1
            failed += not event.is_good
    if tracer is None:
        is_complete = False
        why = _NO_TRACER if not arguments.no_trace else "--no-trace"
        print(write(SkippedCheck(what="system calls", why=why)))
    verdict = Verdict(
        looks=checked,
        failed=failed,
        good=not failed,
        complete=is_complete,
        took_s=round(time.monotonic() - began_s, 1),
    )
    print(write(verdict), flush=True)
    if not failed and tracer is None and not arguments.no_trace:
        raise Unavailable(_NO_TRACER, "apt install strace, or pass --no-trace")
    return 1 if failed else 0


def _progress(step: str) -> None:
    """Print progress to a terminal."""
    if sys.stderr.isatty():
        print(f"earmark: {step}", file=sys.stderr, flush=True)
