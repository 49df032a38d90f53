"""Open clips on their owner's side. The only part of the archive's verb that touches a secret key.

It needs the envelope, the household's roster and the owner's identity, and no archive that runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from listener.archive.files import find_envelope_file, read_envelope_file
from listener.envelope.open import Identity, OpenedClip, open_envelope
from listener.errors import Unavailable, UsageError
from listener.owner.roster import Roster
from listener.storage.owner_files import write_clip


@dataclass(frozen=True, slots=True)
class WrittenClip:
    """A clip in the clear, and where it lies."""

    opened: OpenedClip
    path: Path


def find_clip_file(archive: Path, clip_or_file: str) -> Path:
    """Return the file that holds an envelope.

    Args:
        archive: the archive's folder.
        clip_or_file: the id of a clip that lies there, or a path.

    Raises:
        UsageError: there is none.
    """
    found = find_envelope_file(archive, clip_or_file)
    if found is not None:
        return found
    path = Path(clip_or_file)
    if path.is_file():
        return path
    raise UsageError(
        f"no clip and no file: {clip_or_file}", "earmark archive list shows what is there"
    )


def open_clip(path: Path, identities: Sequence[Identity], roster: Roster, to: Path) -> WrittenClip:
    """Open an envelope and write its sound as ``<clip>.flac``, for its owner's eyes only.

    Args:
        path: the envelope.
        identities: the owner's keys.
        roster: whose devices and owners to believe.
        to: a folder, made when it is not there.

    Raises:
        BadEnvelope: it does not verify or does not open.
        NotForYou: it is sealed to another key.
        Unavailable: it cannot be read, or the sound not be written.
        EarmarkError: another file is in the way.
    """
    try:
        data = read_envelope_file(path)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error
    opened = open_envelope(data, identities, roster.device_keys(), roster.owner_keys())
    return WrittenClip(opened, write_clip(opened, to))
