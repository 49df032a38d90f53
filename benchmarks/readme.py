"""Generated blocks of documents: figures, the help and the transcript of the demo.

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
from listener.cli.demo_command import AGAIN, LEFT_OUT, find_model
from listener.errors import EarmarkError

README: Final = ROOT / "README.md"
BLOCKS: Final[Mapping[str, Path]] = {
    "demo": README,
    "figures": README,
    "help": ROOT / "docs" / "index.md",
    "bench": ROOT / "docs" / "engineering-log" / "benchmarks.md",
}
"""The document of each block."""

CHANGES: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[\d,]+(?= bytes)|[\d.]+(?= s after)"
    rf"|^{AGAIN} .*\n",
    re.MULTILINE,
)
"""Parts that differ from run to run: ids; sizes, since age adds random padding; the delay of the
lamp, and a repetition of its command on a busy computer."""
MODEL_HOME: Final = ROOT / "build" / "assist"
"""Data directory with the speech model of `make demo`, if it is installed."""


def write_block(name: str, block: str) -> None:
    """Replace a block in its document.

    Args:
        name: of the block, as in `BLOCKS`.
        block: its new text, in Markdown.

    Raises:
        ConfigError: a marker is missing or repeated.
    """
    file = BLOCKS[name]
    file.write_text(splice(file.read_text("utf-8"), name, block), "utf-8")


def help_block() -> str:
    """Return the output of ``earmark --help`` as a code block."""
    return _code_block("earmark --help", _output("--help"))


def demo_block() -> str:
    """Return the output of ``earmark demo --fast`` as a code block; the lines are the same."""
    return _code_block("make demo", _output("demo", "--fast", "--home", str(MODEL_HOME)))


def has_model() -> bool:
    """Return whether the demo has the speech model."""
    try:
        find_model(MODEL_HOME)
    except EarmarkError:
        return False
    return True


def is_whole(transcript: str) -> bool:
    """Return whether the demo had the speech model, and so left nothing out."""
    return LEFT_OUT not in transcript


def steady(transcript: str) -> str:
    """Return ``transcript`` without the parts that differ from run to run."""
    return CHANGES.sub("…", transcript)


def _output(*arguments: str) -> str:
    with tempfile.TemporaryDirectory(prefix="earmark-readme-") as folder:
        environ = {**untuned(), "COLUMNS": "80", "NO_COLOR": "1"}
        done = finished(earmark(*arguments), environ, folder=Path(folder))
        done.check_returncode()
        return done.stdout


def _code_block(command: str, printed: str) -> str:
    return f"```\n$ {command}\n{printed.rstrip()}\n```"
