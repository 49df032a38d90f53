"""The blocks that programs write into documents: figures, the help and the demo's transcript.

A block stands between two markers, ``<!-- name:begin -->`` and ``<!-- name:end -->``.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.processes import earmark, finished, untuned
from benchmarks.report import splice
from benchmarks.sounds import ROOT

README: Final = ROOT / "README.md"
BLOCKS: Final[Mapping[str, Path]] = {
    "demo": README,
    "figures": README,
    "help": ROOT / "docs" / "index.md",
    "bench": ROOT / "docs" / "engineering-log" / "benchmarks.md",
}
"""The document of each block."""

CHANGES: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\d,]+(?= bytes)")
"""What differs from run to run: ids, and sizes, for age adds some noise."""


def write_block(name: str, block: str) -> None:
    """Replace a block in its document.

    Args:
        name: of the block, as in `BLOCKS`.
        block: its new text, in Markdown.

    Raises:
        ConfigError: the document has not both markers, once each.
    """
    file = BLOCKS[name]
    file.write_text(splice(file.read_text("utf-8"), name, block), "utf-8")


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
