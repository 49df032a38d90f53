"""What the selftest says: one line for each look, for people or for programs."""

from typing import Final, Literal

import msgspec

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
