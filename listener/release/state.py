"""State of an update on disk, written before each step, so that it survives a power cut.

The journal is a small JSON file beside the versions. The version that began the update reads it,
and so does ``send``, which may be of the next version: unknown fields are ignored.
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
    """The last update, if it was rolled back."""

    version: Version
    reason: Reason


class UpdateState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an update."""

    v: Literal[1] = 1
    phase: Phase = "idle"
    target: Version | None = None
    """Version being installed; None if there is none."""
    previous: Version | None = None
    """Version to roll back to."""
    highest: Version | None = None
    """Newest version that passed its trial here; older ones are installed only on request."""
    failed: FailedUpdate | None = None
    summary: Summary = ""
    """Summary of ``target`` or ``failed``."""

    @property
    def is_in_progress(self) -> bool:
        """True between the start and the end of an update."""
        return self.phase != "idle"

    def begin(self, target: str, previous: str, summary: str) -> "UpdateState":
        """Return the state while a release is unpacked."""
        return msgspec.structs.replace(
            self, phase="staging", target=target, previous=previous, summary=summary, failed=None
        )

    def advance(self, phase: Phase) -> "UpdateState":
        """Return the state in the next phase."""
        return msgspec.structs.replace(self, phase=phase)

    def confirm(self, highest: str) -> "UpdateState":
        """Return the state after the new version passed its trial."""
        return msgspec.structs.replace(
            self, phase="idle", target=None, highest=highest, failed=None, summary=""
        )

    def roll_back(self, reason: str) -> "UpdateState":
        """Return the state after a rollback to the previous version."""
        failed = (
            None if self.target is None else FailedUpdate(version=self.target, reason=reason[:255])
        )
        return msgspec.structs.replace(
            self, phase="idle", target=None, previous=None, failed=failed
        )


class VersionReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The version of a speaker, as it is published to the household."""

    installed: str
    """The running version."""
    latest: str
    """Newest version offered here; ``installed`` if there is no other."""
    in_progress: bool = False
    """True while an update runs."""
    summary: str = ""
    """Summary of ``latest``."""


def parse(data: bytes, source: str) -> UpdateState:
    """Parse a journal.

    Args:
        data: any bytes are safe.
        source: its name for messages.

    Raises:
        ConfigError: the bytes are not a journal. Nothing else is raised.
    """
    try:
        return _decode(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"the update's journal {source} is damaged",
            "check the version that the link current points to, then remove the journal",
        ) from error


def render(journal: UpdateState) -> bytes:
    """Return the journal file, as ``parse`` reads it."""
    return msgspec.json.encode(journal) + b"\n"


def report_version(installed: str, data: bytes | None) -> VersionReport:
    """Return the report of a speaker's version.

    Args:
        installed: the running version.
        data: the journal; None if there is none. A damaged one is ignored.
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
    state = msgspec.json.decode(data, type=UpdateState)
    if state.is_in_progress and (state.target is None or state.previous is None):
        raise ValueError("an update without target or previous version")
    return state
