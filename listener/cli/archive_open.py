"""Decryption for ``earmark archive open``; the only part of the command that uses a secret key.

On the archive's computer it needs the envelope, the household's roster and the owner's identity
file, and no running archive; on the owner's, the speaker's key in place of the roster.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from listener.archive.files import find_envelope_file, read_envelope_file
from listener.clips.session import Session, choose, open_own_clip
from listener.clips.trust_store import TrustStore
from listener.config import Config
from listener.envelope import format as form
from listener.envelope.open import Identity, OpenedClip, open_envelope
from listener.errors import EarmarkError, Unavailable, UsageError
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
    data = _read(path)
    opened = open_envelope(data, identities, roster.stored_device_keys(), roster.owner_keys())
    return WrittenClip(opened, write_clip(opened, to))


def open_own(
    path: Path,
    identities: Sequence[Identity],
    arguments: argparse.Namespace,
    settings: Config,
    to: Path,
) -> WrittenClip:
    """Decrypt an envelope on the owner's computer, which has no roster.

    The speaker's key is the one that ``earmark clips`` has pinned; otherwise the archive reports
    it, and it is pinned.

    Args:
        path: the envelope.
        identities: the owner's secret keys.
        arguments: the command line's ``identity``, ``archive`` and ``ca``.
        settings: the configuration.
        to: folder, created if missing.

    Raises:
        BadEnvelope: the envelope does not verify or cannot be decrypted.
        NotForYou: it is encrypted to another key.
        Unavailable: a file cannot be read or written, or no archive answers.
        EarmarkError: the speaker's key is not known, or a different file of that name exists.
    """
    data = _read(path)
    header = form.parse_envelope(data).header
    home = Path(settings.home)
    known = TrustStore(home)
    if known.knows_signer(header.device, header.dkey):
        opened = open_own_clip(data, header.owner, identities, known.signers())
        return WrittenClip(opened, write_clip(opened, to))
    asked = argparse.Namespace(
        owner=header.owner,
        identity=arguments.identity,
        archive=arguments.archive,
        ca=arguments.ca,
    )
    if choose(asked, home).archive is None:
        raise EarmarkError(
            f"this computer does not know the key of the speaker {header.device}",
            "pass --archive https://HOST:PORT; the archive reports the key, which is kept",
        )
    opened = Session.create(asked, settings).open(data)
    return WrittenClip(opened, write_clip(opened, to))


def _read(path: Path) -> bytes:
    try:
        return read_envelope_file(path)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error
