"""What is seen in one place: in a process's memory, in what it handed out, in files.

What the selftest says: one line for each look, for people or for programs.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from listener.selftest import memory, syscalls
from listener.selftest.processes import Process, freeze
from listener.selftest.watermark import FoundBlocks

Moment = Literal["playing", "forgotten", "muted", "sealed", "ended"]
Where = Literal["memory", "calls", "disk"]

_MOMENTS: Final = {
    "playing": "while it plays",
    "forgotten": "the ring's length later",
    "muted": "after mute",
    "sealed": "the ring's length after a clip",
    "ended": "from start to end",
}


class CheckResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="look"):
    """One place was looked through at one moment."""

    path: str
    """The way that the watermark took: recording, device, or control."""
    moment: Moment
    where: Where
    process: str
    """Whose memory or calls; on the disk, what was looked through."""
    looked_bytes: int
    """How much was looked through."""
    blocks: int
    """Distinct blocks of the watermark that were found: 1 ms of sound each."""
    forms: dict[str, int]
    """Blocks by the form in which they were found."""
    places: dict[str, int]
    """Blocks by the mapping, destination or file that held them."""
    must_find: bool
    """True where nothing found would mean that the search is blind, or heard nothing."""

    @property
    def is_good(self) -> bool:
        """Whether it is as it must be."""
        return (self.blocks > 0) == self.must_find


class SkippedCheck(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="skipped"):
    """Something was not looked at."""

    what: str
    why: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="verdict"):
    """The last line."""

    looks: int
    failed: int
    good: bool
    """Nothing was found where nothing may be, and everything else was found."""
    complete: bool
    """Everything was looked at."""
    took_s: float


Event = CheckResult | SkippedCheck | Verdict


def to_json(event: Event) -> str:
    """Return an event as one line of JSON, without its end."""
    line = msgspec.to_builtins(event)
    if isinstance(event, CheckResult):
        line["good"] = event.is_good
    return msgspec.json.encode(line).decode("ascii")


def to_text(event: Event) -> str:
    """Return an event as a line for people, without its end."""
    if isinstance(event, SkippedCheck):
        return f"-     {event.what}: not looked at: {event.why}"
    if isinstance(event, Verdict):
        if not event.good:
            return f"selftest: {event.failed} of {event.looks} looks are not as they must be"
        rest = "" if event.complete else "; not everything was looked at"
        return f"selftest: {event.looks} looks in {event.took_s:.0f} s, each as it must be{rest}"
    mark = "ok" if event.is_good else "FAIL"
    who = f"{event.where} of {event.process}" if event.where != "disk" else event.process
    amount = f"{event.looked_bytes / (1 << 20):.1f} MiB"
    line = (
        f"{mark:<5} {event.path:<9}  {_MOMENTS[event.moment]:<30}  {who:<20}"
        f" {amount:>10}  {event.blocks:>5} blocks"
    )
    if event.must_find:
        line += ", as it must be" if event.blocks else ", but some must be found"
    elif event.blocks:
        forms = ", ".join(f"{count} as {form}" for form, count in event.forms.items())
        line += f": {forms}, in {', '.join(event.places)}"
    return line


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
    return _build_result(
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
    return _build_result(
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
    return _build_result(
        path=path,
        moment="ended",
        where="disk",
        process=about,
        looked_bytes=size,
        blocks=found,
        places=places,
        must_find=must_find,
    )


def _build_result(  # noqa: PLR0913 - a look's own fields, each by its name
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
