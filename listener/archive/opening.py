"""Open clips on their owner's side. The only part of the archive's verb that touches a secret key.

It needs the envelope, the household's roster and the owner's identity, and no archive that runs.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from listener.archive.files import find_envelope, read_envelope
from listener.envelope.open import Identity, Opened, open_envelope, parse_identities
from listener.errors import ConfigError, EarmarkError, Unavailable, UsageError
from listener.owner.roster import Roster


@dataclass(frozen=True, slots=True)
class Written:
    """A clip in the clear, and where it lies."""

    opened: Opened
    path: Path


def read_identities(path: Path) -> tuple[Identity, ...]:
    """Read the owner's secret keys.

    Raises:
        ConfigError: the file cannot be read or holds none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the identity {path}: {error.strerror}", "age-keygen -o me.key makes one"
        ) from error
    return parse_identities(data, str(path))


def find(archive: Path, clip_or_file: str) -> Path:
    """Return the file that holds an envelope.

    Args:
        archive: the archive's folder.
        clip_or_file: the id of a clip that lies there, or a path.

    Raises:
        UsageError: there is none.
    """
    found = find_envelope(archive, clip_or_file)
    if found is not None:
        return found
    path = Path(clip_or_file)
    if path.is_file():
        return path
    raise UsageError(
        f"no clip and no file: {clip_or_file}", "earmark archive list shows what is there"
    )


def open_to(path: Path, identities: Sequence[Identity], roster: Roster, to: Path) -> Written:
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
        data = read_envelope(path)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error
    opened = open_envelope(data, identities, roster.device_keys(), roster.owner_keys())
    target = to / f"{opened.header.clip}.flac"
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(target, opened.flac)
    except OSError as error:
        raise Unavailable(f"cannot write {target}: {error.strerror}") from error
    return Written(opened, target)


def _write(path: Path, data: bytes) -> None:
    """Write a file that is not there; one with the same content may be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except FileExistsError:
        if path.is_symlink() or not path.is_file() or path.read_bytes() != data:
            raise EarmarkError(
                f"{path} is there already and is something else", "choose another folder with --to"
            ) from None
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink()
        raise
