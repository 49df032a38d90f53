"""``earmark evaluate merge``: joins the surveys of several homes into one rate."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from listener.config import Config
from listener.errors import Unavailable, UsageError
from listener.evaluate.compare import read_result
from listener.evaluate.survey.sharing import (
    SharedSurvey,
    decode_shared,
    describe,
    is_shared,
    join,
    share,
)

EXAMPLES: Final = (
    "earmark evaluate merge evaluation/result.json --out shared.json",
    "earmark evaluate merge homes/*.json",
    "earmark evaluate merge homes/*.json --json",
)
_LARGEST_BYTES: Final = 256 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark evaluate merge``."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="result.json of earmark evaluate --trace or the folder that holds it, or a file that"
        " --out wrote; one for each home",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write what is needed to count these homes elsewhere: model, threshold, hours and"
        " number of false wakes, without times, names and scores",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Join and print; return 0.

    Raises:
        UsageError: a file cannot be read, or is not of a survey.
        ConfigError: a file is neither a result nor a shared survey.
        Unavailable: the output cannot be written.
    """
    del settings  # each survey carries its own rule
    joined, notes = join(_read_all(arguments.files))
    if arguments.out is not None:
        _write(joined, Path(arguments.out))
    if arguments.json:
        for word in joined.words:
            shown = {
                "word": word.word,
                "model": word.model,
                "second_opinion": word.second_opinion,
                "threshold": word.threshold,
                "homes": len(word.homes),
                "false_wakes": word.false_wakes,
                "between_homes": word.between_homes(),
            }
            print(msgspec.json.encode(shown).decode())
        for note in notes:
            print(msgspec.json.encode({"note": note}).decode())
        return 0
    for line in (*describe(joined.words), *(f"note: {note}" for note in notes)):
        print(line)
    return 0


def _read_all(names: Sequence[str]) -> list[SharedSurvey]:
    surveys = []
    for name in names:
        path = Path(name)
        file = path / "result.json" if path.is_dir() else path
        try:
            with file.open("rb") as stream:
                data = stream.read(_LARGEST_BYTES)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the name contains a NUL"
            raise UsageError(f"cannot read {file}: {reason}") from error
        surveys.append(
            decode_shared(data, str(file))
            if is_shared(data)
            else share(read_result(data, str(file)), str(file))
        )
    return surveys


def _write(joined: SharedSurvey, path: Path) -> None:
    text = msgspec.json.format(msgspec.json.encode(joined), indent=1) + b"\n"
    try:
        path.write_bytes(text)
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error
