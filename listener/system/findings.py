"""What an examination found: one line each, with what to do about it."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.errors import EarmarkError

Verdict = Literal["ok", "warn", "fail"]
Fact = str | int | float | bool
Facts = dict[str, Fact]

LONGEST_BYTES: Final = 4096


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that was looked at."""

    check: Annotated[str, Meta(pattern=r"^[a-z-]{1,16}\Z")]
    """What was looked at."""
    verdict: Verdict
    """``warn`` is worth a look; ``fail`` is a reason not to work."""
    text: str
    """What was found. Numbers, names of devices and settings; never sound, never a key."""
    hint: str = ""
    """What to do."""
    facts: Facts = {}
    """The same for programs."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is looked at. Makes what is found of it."""

    name: str
    facts: Facts = field(default_factory=dict)
    """What every finding of it says to programs."""

    def ok(self, text: str, hint: str = "", **facts: Fact) -> Finding:
        """All is well."""
        return self.finding("ok", text, hint, **facts)

    def warn(self, text: str, hint: str = "", **facts: Fact) -> Finding:
        """Record what the owner should check."""
        return self.finding("warn", text, hint, **facts)

    def fail(self, text: str, hint: str = "", **facts: Fact) -> Finding:
        """Record a reason not to work."""
        return self.finding("fail", text, hint, **facts)

    def fail_with(self, error: EarmarkError) -> Finding:
        """Record an error, with its own hint, as a reason not to work."""
        return self.fail(str(error), error.hint)

    def finding(self, verdict: Verdict, text: str, hint: str = "", **facts: Fact) -> Finding:
        """Return what was found; see `Finding`."""
        return Finding(
            check=self.name, verdict=verdict, text=text, hint=hint, facts=self.facts | facts
        )


def to_json(finding: Finding) -> str:
    """Return a finding as one line of JSON, without its end."""
    return msgspec.json.encode(finding).decode("utf-8")


def from_json(line: bytes) -> Finding:
    """Read what `to_json` wrote.

    Raises:
        ValueError: it is something else. Nothing else is raised.
    """
    if len(line) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        return msgspec.json.decode(line, type=Finding)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a finding: {error}") from error


def to_text(finding: Finding) -> str:
    """Return a finding as a line for people, with its hint on the next."""
    text = f"{finding.verdict:<5} {finding.check:<11} {finding.text}"
    return f"{text}\n{'':18}{finding.hint}" if finding.hint else text
