"""Search of the data that processes write or send, as traced by strace(1)."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from listener.selftest.memory import Search
from listener.selftest.watermark import FoundBlocks

CALLS: Final = (
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "vmsplice",
)
"""System calls by which bytes leave a process's memory."""

_LONGEST_BYTES: Final = 1 << 20
_CALL: Final = re.compile(
    rf"(?P<thread>\d+) +(?:{'|'.join(CALLS)})\((?P<to>\d+(?:<(?P<name>[^>]*)>)?)"
)
_BYTES: Final = re.compile(r'"((?:\\x[0-9a-f]{2})+)"')


@dataclass(slots=True)
class SentData:
    """Data that one thread wrote or sent to one destination."""

    thread: int
    kind: str
    """Kind of destination: pipe, socket, file, or nowhere (the null device)."""
    calls: int = 0
    sent_bytes: int = 0
    found: FoundBlocks = field(default_factory=FoundBlocks)


def find_strace() -> str | None:
    """Return the path of strace, or None."""
    return shutil.which("strace")


def strace_command(words: Sequence[str], program: str, output: Path) -> list[str]:
    """Return a command line that runs another one under strace.

    Args:
        words: command line to trace, with its children.
        program: path of strace.
        output: file for the trace.
    """
    how = ["-f", "-y", "-xx", "-s", str(_LONGEST_BYTES), "-e", f"trace={','.join(CALLS)}"]
    return [program, *how, "-e", "signal=none", "-qq", "-o", str(output), "--", *words]


def search_trace(lines: Iterable[str], search: Search) -> list[SentData]:
    """Search a trace.

    The data of a thread to one destination is searched as a whole, so that a block written in
    small pieces is found.

    Args:
        lines: output of strace with the options of `strace_command`.
        search: searches bytes.
    """
    streams: dict[tuple[int, str], tuple[SentData, bytearray]] = {}
    for call in _calls(lines):
        key = call.thread, call.to
        sent, stream = streams.setdefault(key, (SentData(call.thread, call.kind), bytearray()))
        sent.calls += 1
        sent.sent_bytes += len(call.data)
        stream += call.data
    for sent, stream in streams.values():
        sent.found = search.find(bytes(stream))
    return [sent for sent, _ in streams.values()]


@dataclass(frozen=True, slots=True)
class _Call:
    thread: int
    to: str
    kind: str
    data: bytes


def _calls(lines: Iterable[str]) -> Iterator[_Call]:
    for line in lines:
        call = _CALL.match(line)
        if call is None:
            continue  # the second half of a call that was interrupted, or a thread's end
        kind = _kind(_decode_name(call["name"] or ""))
        data = b"".join(_decode(found[1]) for found in _BYTES.finditer(line, call.end()))
        yield _Call(int(call["thread"]), call["to"], kind, data)


def _kind(name: str) -> str:
    if name == os.devnull:
        return "nowhere"
    kind, is_special, _ = name.partition(":[")
    return ("pipe" if kind == "pipe" else "socket") if is_special else "file"


def _decode(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", " "))


def _decode_name(name: str) -> str:
    r"""Decode a name that strace may have written as \x2f\x64…."""
    return _decode(name).decode("utf-8", "replace") if name.startswith("\\x") else name
