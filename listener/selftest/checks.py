"""Checks of the self-test: search memory, system calls and files for the watermark, and report.

Each check gives one line, as text or as JSON.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from listener.quantities import quantity
from listener.selftest import memory, syscalls
from listener.selftest.processes import EMBEDDING, Process, freeze
from listener.selftest.watermark import FoundBlocks

Moment = Literal["playing", "forgotten", "muted", "sealed", "muted-after-clip", "ended"]
Where = Literal["memory", "calls", "disk"]

_MOMENTS: Final = {
    "playing": "during playback",
    "forgotten": "one ring length later",
    "muted": "after mute",
    "sealed": "one ring length after a clip",
    "muted-after-clip": "after a clip and a mute",
    "ended": "from start to end",
}
_MICROPHONE: Final = "microphone"
_HEAR: Final = "hear"


class CheckResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="look"):
    """Result of one search of one place."""

    path: str
    """Source of the watermark: recording, device, or control."""
    moment: Moment
    where: Where
    process: str
    """Process whose memory or calls were searched; on the disk, the name of the files."""
    looked_bytes: int
    """Bytes searched."""
    blocks: int
    """Distinct blocks of the watermark that were found, 1 ms of audio each."""
    forms: dict[str, int]
    """Blocks by the sample format in which they were found."""
    places: dict[str, int]
    """Blocks by the mapping, destination or file that held them."""
    must_find: bool
    """True for a positive control: no block would mean that the search does not work."""

    @property
    def is_good(self) -> bool:
        """True if blocks were found exactly where they are expected."""
        return (self.blocks > 0) == self.must_find


class SkippedCheck(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="skipped"):
    """Check that was not made."""

    what: str
    why: str


class SandboxReport(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="sandbox"):
    """State of the Landlock domain of hear; not every kernel has Landlock."""

    path: str
    """Source of the watermark."""
    landlock: int
    """Version of the kernel's interface; 0 if the domain is not active."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="verdict"):
    """Summary; the last line."""

    looks: int
    """Number of checks."""
    failed: int
    good: bool
    """True if no check failed."""
    complete: bool
    """True if no check was skipped."""
    took_s: float
    """Duration in seconds."""


Event = CheckResult | SkippedCheck | SandboxReport | Verdict


def to_json(event: Event) -> str:
    """Return an event as one line of JSON, without a newline."""
    line = msgspec.to_builtins(event)
    if isinstance(event, CheckResult):
        line["good"] = event.is_good
    return msgspec.json.encode(line).decode("ascii")


def to_text(event: Event) -> str:
    """Return an event as a line of text, without a newline."""
    if isinstance(event, SkippedCheck):
        return f"-     {event.what}: skipped: {event.why}"
    if isinstance(event, SandboxReport):
        state = f"active, version {event.landlock}" if event.landlock else "not active"
        return f"-     {event.path:<9}  Landlock: {state}"
    if isinstance(event, Verdict):
        if not event.good:
            return f"selftest: {event.failed} of {quantity(event.looks, 'check')} failed"
        rest = "" if event.complete else "; some checks were skipped"
        return f"selftest: {quantity(event.looks, 'check')} passed in {event.took_s:.0f} s{rest}"
    mark = "ok" if event.is_good else "FAIL"
    place = f"{event.where} of {event.process}" if event.where != "disk" else event.process
    amount = f"{event.looked_bytes / (1 << 20):.1f} MiB"
    line = (
        f"{mark:<5} {event.path:<9}  {_MOMENTS[event.moment]:<30}  {place:<20}"
        f" {amount:>10}  {event.blocks:>5} blocks"
    )
    if event.must_find:
        line += ", as expected" if event.blocks else ", but the search must find some here"
    elif event.blocks:
        forms = ", ".join(f"{count} as {form}" for form, count in event.forms.items())
        line += f": {forms}, in {', '.join(event.places)}"
    return line


def scan_processes(
    processes: Iterable[Process], search: memory.Search
) -> list[tuple[str, memory.Scan]]:
    """Stop processes, copy their memory, and search it.

    Returns:
        The name and the result of each process.

    Raises:
        Unavailable: memory may not be read, or a process has ended.
    """
    stopped = tuple(processes)
    with freeze(stopped):
        # Searched afterwards: a longer stop would look to hear like a stalled microphone.
        snapshots = [(process.name, memory.snapshot_memory(process.pid)) for process in stopped]
    return [(name, snapshot.scan(search)) for name, snapshot in snapshots]


def check_all_calls(
    path: str, sent: Sequence[tuple[str, syscalls.SentData]]
) -> Iterator[CheckResult]:
    """Check what each process of a run wrote or sent: only the microphone's pipe may have audio.

    Where voices are compared, hear writes the clip to the pipe of the embedding process.

    Args:
        path: source of the watermark.
        sent: data with the name of the process that sent it.
    """
    compares_voices = any(name == EMBEDDING for name, _ in sent)
    for name in dict.fromkeys(name for name, _ in sent):
        own = [data for process, data in sent if process == name]
        if name == _MICROPHONE:
            # Only its pipe to hear may carry audio.
            pipe = [data for data in own if data.kind == "pipe"]
            yield check_calls(path, f"{name}, pipe", pipe, must_find=True)
            # ALSA's file plugin, which replaces a card here, writes a copy to the null device.
            own = [data for data in own if data.kind not in {"pipe", "nowhere"}]
        if name == _HEAR and compares_voices:
            pipe = [data for data in own if data.kind == "pipe"]
            yield check_calls(path, f"{name}, pipe", pipe, must_find=True)
            own = [data for data in own if data.kind != "pipe"]
        yield check_calls(path, name, own, must_find=False)


def check_memory(
    path: str, moment: Moment, process: str, scan: memory.Scan, *, must_find: bool
) -> CheckResult:
    """Return the result of a search of a process's memory.

    Args:
        path: source of the watermark.
        moment: when the memory was copied.
        process: its name.
        scan: of its memory.
        must_find: True for a positive control.
    """
    return _build_result(
        path=path,
        moment=moment,
        where="memory",
        process=process,
        looked_bytes=scan.scanned_bytes,
        blocks=scan.found,
        places=scan.places,
        must_find=must_find,
    )


def check_calls(
    path: str, process: str, sent: Sequence[syscalls.SentData], *, must_find: bool
) -> CheckResult:
    """Return the result for all data that one process sent; arguments as `check_memory`."""
    found = FoundBlocks()
    places: dict[str, int] = {}
    for data in sent:
        found.merge(data.found)
        if data.found:
            places[data.kind] = places.get(data.kind, 0) + data.found.count
    size = sum(data.sent_bytes for data in sent)
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
    """Search files at the end of a run.

    Args:
        path: source of the watermark.
        about: name of the files in the report.
        files: paths of existing files.
        search: searches bytes.
        must_find: True for a positive control.
    """
    found = FoundBlocks()
    places: dict[str, int] = {}
    size = 0
    for file in files:
        data = file.read_bytes()
        size += len(data)
        matches = search.find(data)
        found.merge(matches)
        if matches:
            places[file.name] = matches.count
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


def _build_result(  # noqa: PLR0913 - the fields of a result, each by its name
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
