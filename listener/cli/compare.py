"""``earmark evaluate compare``: paired tests of two stored results."""

import argparse
from pathlib import Path
from typing import Final

import msgspec

from listener.config import Config
from listener.errors import UsageError
from listener.evaluate.compare import compare_results, read_result
from listener.evaluate.metrics.results import Result
from listener.evaluate.report.text import comparison_lines

EXAMPLES: Final = (
    "earmark evaluate compare monday/result.json tuesday/result.json",
    "earmark evaluate compare before after --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark evaluate compare``."""
    for name, which in (("first", "a result"), ("second", "another result of the same items")):
        parser.add_argument(
            name, metavar=name.upper(), help=f"{which}: result.json, or the folder that holds it"
        )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Compare and print; return 0.

    Raises:
        UsageError: a file cannot be read, or the two are not of the same items.
        ConfigError: a file is not a result.
    """
    del settings  # both results carry their own plan
    first, second = _read(Path(arguments.first)), _read(Path(arguments.second))
    comparisons, notes = compare_results(first, second, (arguments.first, arguments.second))
    if arguments.json:
        for comparison in comparisons:
            print(msgspec.json.encode({"comparison": comparison}).decode())
        for note in notes:
            print(msgspec.json.encode({"note": note}).decode())
        return 0
    for comparison in comparisons:
        for line in comparison_lines(comparison):
            print(line)
    for note in notes:
        print(f"note: {note}")
    return 0


def _read(path: Path) -> Result:
    file = path / "result.json" if path.is_dir() else path
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the name contains a NUL"
        raise UsageError(f"cannot read {file}: {reason}") from error
    return read_result(data, str(file))
