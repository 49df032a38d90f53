"""Traces as Parquet, for pandas, DuckDB and R: one long table without loss.

A row is a score, a level, a wake, a near miss, a stretch of audio or a gap. The fields of a whole
run (device, models, rule, floor) are in the file's metadata under ``earmark.runs``. Reading the
file gives the lines of the trace again.
"""

import contextlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa
from pyarrow import parquet

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason
from listener.errors import Unavailable
from listener.wakeword import trace
from listener.wakeword.trace import (
    LEVEL_FRAMES,
    GapLine,
    HeardLine,
    OpenedLine,
    TraceDetection,
    WordScores,
)

SUFFIX: Final = ".parquet"
RUNS: Final = b"earmark.runs"
GROUP_ROWS: Final = 1 << 16

KINDS: Final = ("heard", "gap", "level", "score", "wake", "near_miss")
SCHEMA: Final = pa.schema(
    [
        pa.field("device", pa.dictionary(pa.int16(), pa.string()), nullable=False),
        pa.field("run", pa.int32(), nullable=False),
        pa.field("line", pa.int32(), nullable=False),
        pa.field("kind", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("utc", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("monotonic_s", pa.float64(), nullable=False),
        pa.field("first_sample", pa.int64(), nullable=False),
        pa.field("end_sample", pa.int64(), nullable=False),
        pa.field("word", pa.dictionary(pa.int16(), pa.string())),
        pa.field("value", pa.float32()),
        pa.field("reason", pa.dictionary(pa.int8(), pa.string())),
    ]
)
"""``utc`` and ``monotonic_s`` belong to ``end_sample``; ``value`` is a score, or in dBFS."""

_LEVEL_SAMPLES: Final = LEVEL_FRAMES * FRAME_SAMPLES


def write_parquet(lines: Iterable[trace.Line], path: Path) -> int:
    """Write the lines of traces atomically; return the number of rows.

    Args:
        lines: lines of one trace after the other, each beginning with ``OpenedLine``.
        path: file to create or replace.

    Raises:
        Unavailable: the file cannot be written.
    """
    runs: list[OpenedLine] = []
    rows = 0
    fresh = path.with_name(f".{path.name}.new")
    try:
        with parquet.ParquetWriter(fresh, SCHEMA, compression="zstd") as writer:
            batch: list[dict[str, Any]] = []
            for number, line in enumerate(lines):
                if isinstance(line, OpenedLine):
                    runs.append(line)
                    continue
                batch += _rows(line, runs[-1], len(runs) - 1, number)
                if len(batch) >= GROUP_ROWS:
                    rows += _flush(writer, batch)
            rows += _flush(writer, batch)
            writer.add_key_value_metadata({RUNS: msgspec.json.encode(runs)})
        fresh.replace(path)
    except (OSError, pa.ArrowException) as error:
        raise Unavailable(f"cannot write {path}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
    return rows


def read_parquet(path: Path) -> Iterator[trace.Line]:
    """Yield the lines of the traces, row group by row group.

    Raises:
        Unavailable: the file is not a survey trace, or is damaged.
    """
    try:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                raise Unavailable(f"cannot read {path}: not a survey trace")
            runs = msgspec.json.decode(
                (file.metadata.metadata or {}).get(RUNS, b""), type=list[OpenedLine]
            )
            seen = -1
            rows = (row for batch in file.iter_batches(GROUP_ROWS) for row in batch.to_pylist())
            for (run, _), of_line in groupby(rows, key=lambda row: (row["run"], row["line"])):
                while seen < run:
                    seen += 1
                    yield runs[seen]
                yield _line(list(of_line), runs[run])
            yield from runs[seen + 1 :]
    except (
        OSError,
        pa.ArrowException,
        msgspec.MsgspecError,
        ValueError,
        LookupError,
        TypeError,
    ) as error:
        raise Unavailable(f"cannot read {path}: damaged, or not a survey trace") from error


def _flush(writer: Any, batch: list[dict[str, Any]]) -> int:  # noqa: ANN401 - pyarrow ships no types
    count = len(batch)
    if count:
        writer.write_table(pa.Table.from_pylist(batch, SCHEMA), row_group_size=GROUP_ROWS)
    batch.clear()
    return count


def _rows(
    line: HeardLine | GapLine, opened: OpenedLine, run: int, number: int
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a line, first that of the stretch of audio or of the gap."""
    end_sample = (
        line.end_sample if isinstance(line, HeardLine) else line.first_sample + line.length_samples
    )
    ended = trace.parse_time(line.utc)

    def row(kind: str, first: int, end: int, **more: object) -> dict[str, Any]:
        before_s = (end_sample - end) / SAMPLE_RATE_HZ
        return {
            "device": opened.device,
            "run": run,
            "line": number,
            "kind": kind,
            "utc": ended - timedelta(seconds=before_s),
            "monotonic_s": round(line.monotonic_s - before_s, 6),
            "first_sample": first,
            "end_sample": end,
        } | more

    if isinstance(line, GapLine):
        yield row("gap", line.first_sample, end_sample, reason=line.reason.value)
        return
    first = line.first_sample
    yield row("heard", first, end_sample)
    for index, level_db in enumerate(line.levels_db):
        begin = first + index * _LEVEL_SAMPLES
        yield row("level", begin, min(begin + _LEVEL_SAMPLES, end_sample), value=float(level_db))
    for begin, end in line.own_sound or ():
        yield row("own_sound", begin, end)
    step = opened.step_samples
    for word, kept in line.scores.items():
        for place, score in zip(kept.steps, kept.scores, strict=True):
            end = first + (place + 1) * step
            yield row("score", end - step, end, word=word, value=score)
    for word, runs in line.skipped.items():
        for begin, after in zip(runs[::2], runs[1::2], strict=True):
            yield row("skipped", first + begin * step, first + after * step, word=word)
    for found in line.found:
        end = found.end_sample
        yield row(found.kind, end - step, end, word=found.word, value=found.score)


def _line(rows: list[dict[str, Any]], opened: OpenedLine) -> trace.Line:
    """Return the line of its rows.

    Raises:
        ValueError: the rows are invalid.
    """
    head, *rest = rows
    utc: datetime = head["utc"]
    if head["kind"] == "gap":
        return GapLine(
            reason=GapReason(head["reason"]),
            first_sample=head["first_sample"],
            length_samples=head["end_sample"] - head["first_sample"],
            utc=trace.format_time(utc),
            monotonic_s=head["monotonic_s"],
        )
    scores: dict[str, tuple[list[int], list[float]]] = {}
    found: list[TraceDetection] = []
    skipped: dict[str, list[int]] = {}
    for row in rest:
        kind = row["kind"]
        if kind == "score":
            places, values = scores.setdefault(row["word"], ([], []))
            after = row["end_sample"] - head["first_sample"]
            places.append(after // opened.step_samples - 1)
            values.append(trace.shorten_score(row["value"]))
        elif kind == "skipped":
            skipped.setdefault(row["word"], []).extend(
                (row[end] - head["first_sample"]) // opened.step_samples
                for end in ("first_sample", "end_sample")
            )
        elif kind in {"wake", "near_miss"}:
            detection: Literal["wake", "near_miss"] = "wake" if kind == "wake" else "near_miss"
            found.append(
                TraceDetection(
                    kind=detection,
                    word=row["word"],
                    score=trace.shorten_score(row["value"]),
                    end_sample=row["end_sample"],
                )
            )
    line = HeardLine(
        first_sample=head["first_sample"],
        end_sample=head["end_sample"],
        utc=trace.format_time(utc),
        monotonic_s=head["monotonic_s"],
        levels_db=tuple(int(row["value"]) for row in rest if row["kind"] == "level"),
        scores={
            word: WordScores(steps=tuple(places), scores=tuple(values))
            for word, (places, values) in scores.items()
        },
        found=tuple(found),
        own_sound=tuple(
            (row["first_sample"], row["end_sample"]) for row in rest if row["kind"] == "own_sound"
        )
        or msgspec.UNSET,
        skipped={word: tuple(runs) for word, runs in skipped.items()},
    )
    # The file may come from anywhere: validate the line by its schema.
    return trace.decode(msgspec.json.encode(line))
