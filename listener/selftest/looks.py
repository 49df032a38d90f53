"""What is seen in one place: in a process's memory, in what it handed out, in files."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from listener.selftest import memory, syscalls
from listener.selftest.processes import Process, freeze
from listener.selftest.report import CheckResult, Moment, Where
from listener.selftest.watermark import FoundBlocks

_MICROPHONE: Final = "microphone"


def scan_processes(
    processes: Iterable[Process], search: memory.Search
) -> list[tuple[str, memory.Scan]]:
    """Look through processes that are held still meanwhile; by name.

    Raises:
        Unavailable: memory is closed to us, or a process has ended.
    """
    held = tuple(processes)
    with freeze(held):
        # Searched afterwards: hear must not think that its microphone has stalled.
        pictures = [(process.name, memory.snapshot_memory(process.pid)) for process in held]
    return [(name, picture.scan(search)) for name, picture in pictures]


def check_all_calls(
    path: str, sent: Sequence[tuple[str, syscalls.SentData]]
) -> Iterator[CheckResult]:
    """Sum up what each process of a run handed out; nothing may be found but in the one pipe.

    Args:
        path: the way that the sound took.
        sent: by the name of the process.
    """
    for name in dict.fromkeys(name for name, _ in sent):
        own = [one for who, one in sent if who == name]
        if name == _MICROPHONE:
            # Its pipe to hear is the one way by which sound may leave a process.
            pipe = [one for one in own if one.kind == "pipe"]
            yield check_calls(path, f"{name}, pipe", pipe, must_find=True)
            # ALSA's plugin, our stand-in for a card, copies what it gives to the null device.
            own = [one for one in own if one.kind not in {"pipe", "nowhere"}]
        yield check_calls(path, name, own, must_find=False)


def check_memory(
    path: str, moment: Moment, process: str, seen: memory.Scan, *, must_find: bool
) -> CheckResult:
    """Say what was seen in a process's memory.

    Args:
        path: the way that the sound took.
        moment: when it was looked at.
        process: its name.
        seen: in its memory.
        must_find: whether nothing found is what may not be.
    """
    return _result(
        path=path,
        moment=moment,
        where="memory",
        process=process,
        looked_bytes=seen.scanned_bytes,
        blocks=seen.found,
        places=seen.places,
        must_find=must_find,
    )


def check_calls(
    path: str, process: str, sent: Sequence[syscalls.SentData], *, must_find: bool
) -> CheckResult:
    """Say what one process handed out from start to end; arguments as `check_memory`."""
    found = FoundBlocks()
    places: dict[str, int] = {}
    for one in sent:
        found.merge(one.found)
        if one.found:
            places[one.kind] = places.get(one.kind, 0) + one.found.count
    size = sum(one.sent_bytes for one in sent)
    return _result(
        path=path,
        moment="ended",
        where="calls",
        process=process,
        looked_bytes=size,
        blocks=found,
        places=places,
        must_find=must_find,
    )


def check_files(
    path: str, about: str, files: Sequence[Path], search: memory.Search, *, must_find: bool
) -> CheckResult:
    """Look through files as they are in the end.

    Args:
        path: the way that the sound took.
        about: what the files are, for people.
        files: all of them are there.
        search: what is looked for.
        must_find: whether nothing found is what may not be.
    """
    found = FoundBlocks()
    places: dict[str, int] = {}
    size = 0
    for file in files:
        data = file.read_bytes()
        size += len(data)
        seen = search.find(data)
        found.merge(seen)
        if seen:
            places[file.name] = seen.count
    return _result(
        path=path,
        moment="ended",
        where="disk",
        process=about,
        looked_bytes=size,
        blocks=found,
        places=places,
        must_find=must_find,
    )


def _result(  # noqa: PLR0913 - a look's own fields, each by its name
    *,
    path: str,
    moment: Moment,
    where: Where,
    process: str,
    looked_bytes: int,
    blocks: FoundBlocks,
    places: dict[str, int],
    must_find: bool,
) -> CheckResult:
    return CheckResult(
        path=path,
        moment=moment,
        where=where,
        process=process,
        looked_bytes=looked_bytes,
        blocks=blocks.count,
        forms={form: len(numbers) for form, numbers in blocks.blocks.items()},
        places=places,
        must_find=must_find,
    )
