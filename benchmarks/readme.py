"""What the README quotes, as the commands print it: the help and the demo's transcript."""

import re
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.processes import earmark, finished, untuned

CHANGES: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\d,]+(?= bytes)")
"""What differs from run to run: ids, and sizes, for age adds some noise."""


def help_block() -> str:
    """Return what ``earmark --help`` prints, fenced."""
    return _fenced("earmark --help", _printed("--help"))


def demo_block() -> str:
    """Return what ``earmark demo`` prints, fenced; fast, for the lines are the same."""
    return _fenced("make demo", _printed("demo", "--fast"))


def steady(transcript: str) -> str:
    """Return ``transcript`` without what differs from run to run."""
    return CHANGES.sub("…", transcript)


def _printed(*arguments: str) -> str:
    with tempfile.TemporaryDirectory(prefix="earmark-readme-") as folder:
        environ = {**untuned(), "COLUMNS": "80", "NO_COLOR": "1"}
        done = finished(earmark(*arguments), environ, folder=Path(folder))
        done.check_returncode()
        return done.stdout


def _fenced(command: str, printed: str) -> str:
    return f"```\n$ {command}\n{printed.rstrip()}\n```"
