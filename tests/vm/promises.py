"""Data that a machine reported as durable before a power cut, and the data found after it."""

import re
from dataclasses import dataclass, field
from typing import Final

_TOLD: Final = re.compile(
    r"cut: (?:(put) ([0-9]+)|(kept|spool|archive)) ([0-9a-f-]{36}) ([0-9a-f]{16})$"
)
_SAID: Final = re.compile(r"cut: (next|device|mended|strays|roster|counts) (.+)$")


class Broken(Exception):
    """A power cut violated a promise."""


@dataclass(slots=True)
class Known:
    """Durable data that the machine reported before each cut."""

    put: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    most_seq: int = 0
    device: str = ""

    def take(self, line: str) -> None:
        """Record the promise of a line."""
        if told := _TOLD.search(line):
            put, seq, kind, clip, digest = told.groups()
            if put:
                if int(seq) <= self.most_seq:
                    raise Broken(f"the number {seq} was given twice")
                self.most_seq = int(seq)
                self.put[clip] = digest
            elif kind == "kept":
                self.kept[clip] = digest


@dataclass(slots=True)
class Found:
    """Data that one boot found on the disk."""

    spool: dict[str, str] = field(default_factory=dict)
    archive: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Record the data that a line reports."""
        told = _TOLD.search(line)
        if told and told[3] in ("spool", "archive"):
            {"spool": self.spool, "archive": self.archive}[told[3]][told[4]] = told[5]
        elif said := _SAID.search(line):
            self.said[said[1]] = said[2].strip()

    def compare(self, known: Known) -> None:
        """Compare the found data with the promises.

        Raises:
            Broken: data is lost, changed, repeated or quarantined.
        """
        here = self.spool | self.archive
        lost = [clip for clip, digest in known.put.items() if here.get(clip) != digest]
        unkept = [clip for clip, digest in known.kept.items() if self.archive.get(clip) != digest]
        if lost or unkept:
            raise Broken(f"lost: {len(lost)} clips of the spool, {len(unkept)} of the archive")
        if int(self.said["next"]) <= known.most_seq:
            raise Broken("the sequence went back")
        if known.device not in ("", self.said["device"]):
            raise Broken("the device has another key")
        if self.said["strays"] != "0":
            raise Broken(f"set aside or unfinished: {self.said['strays']}")
        known.device = self.said["device"]
        known.most_seq = int(self.said["next"])
