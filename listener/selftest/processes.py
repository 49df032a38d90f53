"""Process trees from /proc: names, stopping and continuing, and read positions of open files."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_STOPPED: Final = frozenset("TtZX")  # stopped, stopped under a tracer, ended
_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.002

_TRACER: Final = "strace"
EMBEDDING: Final = "embedding"
"""Name of the process that compares voices."""


@dataclass(frozen=True, slots=True)
class Process:
    """Running process."""

    pid: int
    name: str
    """hear, microphone, embedding, send, leaky, or the name of its program."""
    threads: frozenset[int]


def process_tree(pid: int) -> tuple[Process, ...]:
    """Return a process and its descendants without strace, in the order of `descendants`."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = _parent(entry)
    processes = []
    for number in descendants(pid, parents):
        with contextlib.suppress(OSError):
            folder = _PROC / str(number)
            words = (folder / "cmdline").read_bytes().split(b"\0")[:-1]
            threads = frozenset(int(task.name) for task in (folder / "task").iterdir())
            if words:  # a process that has ended has none
                processes.append(
                    Process(number, name_of([os.fsdecode(word) for word in words]), threads)
                )
    return tuple(process for process in processes if process.name != _TRACER)


def descendants(pid: int, parents: Mapping[int, int]) -> tuple[int, ...]:
    """Return a process, then its children, then their children, and so on.

    A child may have a smaller id than its parent, because the kernel reuses ids.

    Args:
        pid: root of the tree.
        parents: parent of each process.
    """
    tree = [pid]
    generation = {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        generation -= set(tree)
        tree += sorted(generation)
    return tuple(tree)


def name_of(words: Sequence[str]) -> str:
    """Return a name for a process from its command line."""
    program = Path(words[0]).name
    if program != _TRACER and "-m" in words[:-1]:
        index = words.index("-m") + 1
        module = words[index]
        if module == "listener" and index + 1 < len(words):
            return words[index + 1]
        if module == "listener.hear.microphone.process":
            return "microphone"
        if module == "listener.hear.voiceprint.embedding_process":
            return EMBEDDING
        if module == "listener.selftest.leaky_listener":
            return "leaky"
        return module.rpartition(".")[2]
    return program


@contextlib.contextmanager
def freeze(processes: Iterable[Process]) -> Iterator[None]:
    """Stop processes with SIGSTOP until the block ends."""
    stopped = tuple(processes)
    try:
        for process in stopped:
            _signal(process.pid, signal.SIGSTOP)
        until_s = time.monotonic() + _PATIENCE_S
        while not all(map(_is_stopped, stopped)) and time.monotonic() < until_s:
            time.sleep(_PAUSE_S)
        yield
    finally:
        for process in stopped:
            _signal(process.pid, signal.SIGCONT)


def read_position_bytes(processes: Iterable[Process], path: Path) -> int | None:
    """Return the position of a process in a file, in bytes; None if none has it open."""
    for descriptor in _descriptors(processes, path):
        with contextlib.suppress(OSError):
            info = (descriptor.parents[1] / "fdinfo" / descriptor.name).read_text("ascii")
            return int(info.split()[1])
    return None


def has_open(processes: Iterable[Process], path: Path) -> bool:
    """Return whether one of the processes has a file open."""
    return any(True for _ in _descriptors(processes, path))


def _descriptors(processes: Iterable[Process], path: Path) -> Iterator[Path]:
    for process in processes:
        with contextlib.suppress(OSError):
            for link in (_PROC / str(process.pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if link.readlink() == path:
                        yield link


def _parent(entry: Path) -> int:
    # The name before it is in parentheses, and may contain any character.
    stat = (entry / "stat").read_text("utf-8", "replace")
    return int(stat.rpartition(")")[2].split()[1])


def _is_stopped(process: Process) -> bool:
    try:
        tasks = list((_PROC / str(process.pid) / "task").iterdir())
        states = [(task / "stat").read_text("utf-8", "replace") for task in tasks]
    except OSError:
        return True  # ended
    return all(state.rpartition(")")[2].split()[0] in _STOPPED for state in states)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
