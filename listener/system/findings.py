"""Diagnostic findings: one line each, with a hint. JSON lines are the programs' form of them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.errors import EarmarkError

Verdict = Literal["ok", "warn", "fail"]
_ORDER: Final[tuple[Verdict, ...]] = ("fail", "warn", "ok")
Fact = str | int | float | bool
Facts = dict[str, Fact]

LONGEST_BYTES: Final = 4096
_APPLIES: Final = "applies"
"""Fact of a check that does not concern this machine; it is False."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of one check."""

    check: Annotated[str, Meta(pattern=r"^[a-z-]{1,16}\Z")]
    """Name of the check."""
    verdict: Verdict
    """``ok``; ``warn``: the owner should check it; ``fail``: Earmark cannot work."""
    text: str
    """Fact, with numbers, device names and configuration; never audio, never a key."""
    hint: str = ""
    """What to do, or empty."""
    facts: Facts = {}
    """The same, for programs."""

    @property
    def concerns_this_machine(self) -> bool:
        """False for a check that passed because this machine has nothing to check."""
        return self.facts.get(_APPLIES, True) is not False


@dataclass(frozen=True, slots=True)
class Check:
    """Factory of the findings of one check."""

    name: str
    facts: Facts = field(default_factory=dict)
    """Facts of every finding."""

    def ok(self, text: str, hint: str = "", **facts: Fact) -> Finding:
        """Return a finding of a check that passed."""
        return self.finding("ok", text, hint, **facts)

    def not_here(self, text: str) -> Finding:
        """Return a finding of a check that does not concern this machine."""
        facts = self.facts | {_APPLIES: False}
        return Finding(check=self.name, verdict="ok", text=text, facts=facts)

    def warn(self, text: str, hint: str = "", **facts: Fact) -> Finding:
        """Return a finding that the owner should check."""
        return self.finding("warn", text, hint, **facts)

    def fail(self, text: str, hint: str = "", **facts: Fact) -> Finding:
        """Return a finding that keeps Earmark from working."""
        return self.finding("fail", text, hint, **facts)

    def fail_with(self, error: EarmarkError) -> Finding:
        """Return a failure with the message and hint of an error."""
        return self.fail(str(error), error.hint)

    def finding(self, verdict: Verdict, text: str, hint: str = "", **facts: Fact) -> Finding:
        """Return a finding of this check; see `Finding`."""
        return Finding(
            check=self.name, verdict=verdict, text=text, hint=hint, facts=self.facts | facts
        )


def to_json(finding: Finding) -> str:
    """Return a finding as one line of JSON, without a newline."""
    return msgspec.json.encode(finding).decode("utf-8")


def from_json(line: bytes) -> Finding:
    """Parse a line of `to_json`; any bytes are accepted.

    Raises:
        ValueError: it is not a finding. No other error is raised.
    """
    if len(line) > LONGEST_BYTES:
        raise ValueError(f"longer than {LONGEST_BYTES} bytes")
    try:
        return msgspec.json.decode(line, type=Finding)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a finding: {error}") from error


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that concern this machine: failures, then warnings, then the rest."""
    shown = [finding for finding in findings if finding.concerns_this_machine]
    return sorted(shown, key=lambda finding: _ORDER.index(finding.verdict))


def summary(findings: Sequence[Finding]) -> str:
    """Return one line: how many checks failed, warn and passed, and which failed."""
    counted = Counter(finding.verdict for finding in findings if finding.concerns_this_machine)
    failed = dict.fromkeys(finding.check for finding in findings if finding.verdict == "fail")
    parts = [
        f"{counted['fail'] or 'no'} {'failure' if counted['fail'] == 1 else 'failures'}"
        + (f" ({', '.join(failed)})" if failed else ""),
        f"{counted['warn'] or 'no'} {'warning' if counted['warn'] == 1 else 'warnings'}",
        f"{counted['ok']} passed",
    ]
    left_out = sum(not finding.concerns_this_machine for finding in findings)
    if left_out:
        verb = "does" if left_out == 1 else "do"
        parts.append(f"{left_out} {verb} not concern this machine")
    return ", ".join(parts)


def to_text(finding: Finding) -> str:
    """Return a finding as one line of text, with its hint on a second line."""
    text = f"{finding.verdict:<5} {finding.check:<11} {finding.text}"
    return f"{text}\n{'':18}{finding.hint}" if finding.hint else text
