"""How far an update has come, written down before each step, so that a power cut loses nothing.

The journal is one small JSON file beside the versions. It is read by the version that began the
update, and by ``send``, which may be of the version after: what it does not understand is nothing.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.errors import ConfigError
from listener.release.versions import Summary, Version

FILE: Final = "update.json"
LIMIT_BYTES: Final = 16 << 10

Phase = Literal["idle", "staging", "switching", "trial", "returning"]
Reason = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class FailedUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The last update, where it did not stay."""

    version: Version
    reason: Reason


class UpdateState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the disk must remember."""

    v: Literal[1] = 1
    phase: Phase = "idle"
    target: Version | None = None
    """What is being installed; None while nothing is."""
    previous: Version | None = None
    """What to go back to."""
    highest: Version | None = None
    """The newest that ever proved itself here: nothing older comes after it unasked."""
    failed: FailedUpdate | None = None
    summary: Summary = ""
    """Of ``target`` or ``failed``."""

    @property
    def is_in_progress(self) -> bool:
        """Whether an update was begun and not ended."""
        return self.phase != "idle"

    def begin(self, target: str, previous: str, summary: str) -> "UpdateState":
        """Note that a release is being unpacked."""
        return msgspec.structs.replace(
            self, phase="staging", target=target, previous=previous, summary=summary, failed=None
        )

    def advance(self, phase: Phase) -> "UpdateState":
        """Note the next step."""
        return msgspec.structs.replace(self, phase=phase)

    def confirm(self, highest: str) -> "UpdateState":
        """Note that the new version proved itself."""
        return msgspec.structs.replace(
            self, phase="idle", target=None, highest=highest, failed=None, summary=""
        )

    def roll_back(self, reason: str) -> "UpdateState":
        """Note that it did not, and that the previous one is in its place again."""
        failed = (
            None if self.target is None else FailedUpdate(version=self.target, reason=reason[:255])
        )
        return msgspec.structs.replace(
            self, phase="idle", target=None, previous=None, failed=failed
        )


class VersionReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a household is told of a speaker's version."""

    installed: str
    latest: str
    """The newest that was offered here; equal to ``installed`` where there is no other."""
    in_progress: bool = False
    summary: str = ""


def parse(data: bytes, source: str) -> UpdateState:
    """Read a journal.

    Args:
        data: any bytes at all.
        source: where they came from, for messages.

    Raises:
        ConfigError: they are none. Nothing else is raised.
    """
    try:
        return _decode(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"the update's journal {source} is damaged",
            "check the version that the link current points to, then remove the journal",
        ) from error


def render(journal: UpdateState) -> bytes:
    """Write a journal as ``parse`` reads it."""
    return msgspec.json.encode(journal) + b"\n"


def report_version(installed: str, data: bytes | None) -> VersionReport:
    """Return what to tell of a version.

    Args:
        installed: the version that runs.
        data: of the journal; None where there is none. A damaged one tells nothing.
    """
    try:
        journal = UpdateState() if data is None else parse(data, FILE)
    except ConfigError:
        journal = UpdateState()
    if journal.target is not None:
        return VersionReport(
            installed=installed, latest=journal.target, in_progress=True, summary=journal.summary
        )
    if journal.failed is not None and journal.failed.version != installed:
        return VersionReport(
            installed=installed,
            latest=journal.failed.version,
            summary=f"It was taken back: {journal.failed.reason}"[:255],
        )
    return VersionReport(installed=installed, latest=installed)


def _decode(data: bytes) -> UpdateState:
    if len(data) > LIMIT_BYTES:
        raise ValueError("too long")
    found = msgspec.json.decode(data, type=UpdateState)
    if found.is_in_progress and (found.target is None or found.previous is None):
        raise ValueError("from where to where")
    return found
