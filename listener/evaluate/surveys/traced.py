"""``earmark evaluate --trace``: rates from what ``earmark survey`` kept of rooms."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from listener.config import Config
from listener.errors import UsageError
from listener.evaluate.corpus.playing import file_hash
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.rates.result import Result
from listener.evaluate.surveys import surveyed
from listener.evaluate.surveys.parquet import write_parquet
from listener.evaluate.surveys.spans import Spans, parse_spans
from listener.evaluate.surveys.traces import merge, read_trace
from listener.wakeword.trace import Line


def add_trace_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of surveys."""
    group = parser.add_argument_group("surveys")
    group.add_argument(
        "--trace",
        action="append",
        metavar="FILE",
        help="of earmark survey, of any device; may be repeated; nothing is played",
    )
    group.add_argument(
        "--exclude",
        metavar="FILE",
        help="stretches that do not count: begin, end and name, with tabs between",
    )
    group.add_argument(
        "--stimuli", metavar="FILE", help="what was played when, in lines of the same form"
    )
    group.add_argument("--parquet", metavar="FILE", help="write the traces as one Parquet file")


def evaluate_survey(arguments: argparse.Namespace, settings: Config) -> tuple[Result, None]:
    """Merge the traces and judge them; there is never any sound to them.

    Raises:
        UsageError: an option belongs to sounds, or a threshold cannot be judged.
        ConfigError: a file of stretches is none, or traces do not fit together.
        Unavailable: a file cannot be read or written.
    """
    del settings  # a trace says itself how it was made
    for option in ("corpus", "positives", "negatives", "plan", "noise", "room", "plays", "cluster"):
        if getattr(arguments, option, None):
            raise UsageError(f"--trace plays nothing, so --{option} has no sense with it")
    paths = [Path(name) for name in arguments.trace]
    excluded, stimuli = _spans(arguments.exclude), _spans(arguments.stimuli)
    merged = merge(paths, excluded, stimuli)
    wanted: Sequence[str] = arguments.model or sorted(merged.words)
    thresholds = {} if arguments.threshold is None else dict.fromkeys(wanted, arguments.threshold)
    words = surveyed.compute_rates(merged, stimuli, thresholds)
    if arguments.model:
        words = tuple(word for word in words if word.word in wanted)
    if arguments.parquet:
        write_parquet(_all_lines(paths), Path(arguments.parquet))
    files = [(f"trace {path.name}", path) for path in paths]
    files += [
        (f"{name} {Path(given).name}", Path(given))
        for name, given in (("exclude", arguments.exclude), ("stimuli", arguments.stimuli))
        if given
    ]
    models = {f"model {name}": each.sha256 for name, each in merged.words.items()}
    result = Result(
        plan={
            "traces": [path.name for path in paths],
            "floor": merged.floor,
            "excluded_s": round(merged.excluded_s, 3),
            "missing_s": {reason: round(s, 3) for reason, s in sorted(merged.missing_s.items())},
            "thresholds": thresholds,
        },
        hashes={name: file_hash(path) for name, path in files} | models | {"code": code_hash()},
        versions=versions(),
        definitions=surveyed.DEFINITIONS,
        warnings=surveyed.list_warnings(merged, words),
        missing=tuple(merged.troubles),
        words=words,
    )
    return result, None


def _all_lines(paths: Sequence[Path]) -> Iterator[Line]:
    for path in paths:
        yield from (line for line in read_trace(path, []) if line is not None)


def _spans(name: str | None) -> Spans:
    if name is None:
        return Spans()
    try:
        text = Path(name).read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {name}: {reason}") from error
    return parse_spans(text, name)
