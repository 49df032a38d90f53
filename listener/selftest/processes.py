"""Which processes are ours, how to hold them still, and how far they have read a file."""

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


@dataclass(frozen=True, slots=True)
class Process:
    """A process of ours."""

    pid: int
    name: str
    """hear, microphone, send, leaky; or what its program is called."""
    threads: frozenset[int]


def process_tree(pid: int) -> tuple[Process, ...]:
    """Return a process and all its descendants but tracers, in the order of `descendants`."""
    parents: dict[int, int] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = _parent(entry)
    found = []
    for number in descendants(pid, parents):
        with contextlib.suppress(OSError):
            here = _PROC / str(number)
            words = (here / "cmdline").read_bytes().split(b"\0")[:-1]
            threads = frozenset(int(task.name) for task in (here / "task").iterdir())
            if words:  # one that has ended has none
                found.append(
                    Process(number, name_of([os.fsdecode(word) for word in words]), threads)
                )
    return tuple(process for process in found if process.name != _TRACER)


def descendants(pid: int, parents: Mapping[int, int]) -> tuple[int, ...]:
    """Return a process, then its children, then theirs.

    A child may have a smaller number than its parent: the kernel begins anew at the last one.

    Args:
        pid: the process that comes first.
        parents: of each process, who started it.
    """
    ours = [pid]
    generation = {pid}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        generation -= set(ours)
        ours += sorted(generation)
    return tuple(ours)


def name_of(words: Sequence[str]) -> str:
    """Name a process by its command line."""
    program = Path(words[0]).name
    if program != _TRACER and "-m" in words[:-1]:
        at = words.index("-m") + 1
        module = words[at]
        if module == "listener" and at + 1 < len(words):
            return words[at + 1]
        if module == "listener.hear.microphone.process":
            return "microphone"
        if module == "listener.selftest.leaky_listener":
            return "leaky"
        return module.rpartition(".")[2]
    return program


@contextlib.contextmanager
def freeze(processes: Iterable[Process]) -> Iterator[None]:
    """Stop processes until the block ends, so that nothing moves while it is looked for."""
    held = tuple(processes)
    try:
        for process in held:
            _signal(process.pid, signal.SIGSTOP)
        until_s = time.monotonic() + _PATIENCE_S
        while not all(map(_is_still, held)) and time.monotonic() < until_s:
            time.sleep(_PAUSE_S)
        yield
    finally:
        for process in held:
            _signal(process.pid, signal.SIGCONT)


def read_position_bytes(processes: Iterable[Process], path: Path) -> int | None:
    """Return how many bytes of a file our processes have read; None when none has it open."""
    for descriptor in _descriptors(processes, path):
        with contextlib.suppress(OSError):
            said = (descriptor.parents[1] / "fdinfo" / descriptor.name).read_text("ascii")
            return int(said.split()[1])
    return None


def has_open(processes: Iterable[Process], path: Path) -> bool:
    """Tell whether one of our processes has a file open."""
    return any(True for _ in _descriptors(processes, path))


def _descriptors(processes: Iterable[Process], path: Path) -> Iterator[Path]:
    for process in processes:
        with contextlib.suppress(OSError):
            for link in (_PROC / str(process.pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if link.readlink() == path:
                        yield link


def _parent(entry: Path) -> int:
    # The name before it stands in brackets, and may hold anything.
    stat = (entry / "stat").read_text("utf-8", "replace")
    return int(stat.rpartition(")")[2].split()[1])


def _is_still(process: Process) -> bool:
    try:
        tasks = list((_PROC / str(process.pid) / "task").iterdir())
        states = [(task / "stat").read_text("utf-8", "replace") for task in tasks]
    except OSError:
        return True  # ended
    return all(state.rpartition(")")[2].split()[0] in _STOPPED for state in states)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
