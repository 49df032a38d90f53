"""Decryption for ``earmark archive open``; the only part of the command that uses a secret key.

It needs the envelope, the household's roster and the owner's identity file, and no running archive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from listener.archive.files import find_envelope_file, read_envelope_file
from listener.envelope.open import Identity, OpenedClip, open_envelope
from listener.errors import BadEnvelope, Unavailable, UsageError
from listener.owner.roster import Roster
from listener.storage.owner_files import write_clip


@dataclass(frozen=True, slots=True)
class WrittenClip:
    """Decrypted clip and the path of its FLAC file."""

    opened: OpenedClip
    path: Path


def find_clip_file(archive: Path, clip_or_file: str) -> Path:
    """Return the path of an envelope.

    Args:
        archive: the archive's folder.
        clip_or_file: id of a clip in the archive, or a path.

    Raises:
        UsageError: neither exists.
    """
    stored = find_envelope_file(archive, clip_or_file)
    if stored is not None:
        return stored
    path = Path(clip_or_file)
    if path.is_file():
        return path
    raise UsageError(
        f"neither a clip in the archive nor a file: {clip_or_file}",
        "list the clips: earmark archive list",
    )


def open_clip(path: Path, identities: Sequence[Identity], roster: Roster, to: Path) -> WrittenClip:
    """Decrypt an envelope and write its audio as ``<clip>.flac``, with mode 0600.

    Args:
        path: the envelope.
        identities: the owner's secret keys.
        roster: devices and owners that are accepted.
        to: folder, created if missing.

    Raises:
        BadEnvelope: the envelope does not verify or cannot be decrypted.
        NotForYou: it is encrypted to another key.
        Unavailable: the envelope cannot be read, or the audio cannot be written.
        EarmarkError: a different file of that name exists.
    """
    try:
        data = read_envelope_file(path)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error
    devices = roster.stored_device_keys()
    try:
        opened = open_envelope(data, identities, devices, roster.owner_keys())
    except BadEnvelope as error:
        if devices:
            raise
        raise BadEnvelope(
            f"{error}: there is no roster on this computer",
            "run this on the archive's computer, or fetch the clip: earmark clips export --open",
        ) from error
    return WrittenClip(opened, write_clip(opened, to))
