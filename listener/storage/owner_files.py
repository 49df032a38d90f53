"""Files of the owner's machine: their secret keys and decrypted clips."""

from pathlib import Path

from listener.envelope.open import IDENTITY_LIMIT_BYTES, Identity, OpenedClip, parse_identities
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.storage.atomic import create_file, read_plain_file


def read_identities(path: Path) -> tuple[Identity, ...]:
    """Read the owner's secret keys.

    Raises:
        ConfigError: the file cannot be read or holds none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(IDENTITY_LIMIT_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            f"cannot read the identity {path}: {error.strerror}",
            "look for it on other disks and in backups: only this key opens the owner's clips",
        ) from error
    except OSError as error:
        # Not the hint above: a new key does not open old clips.
        raise ConfigError(f"cannot read the identity {path}: {error.strerror}") from error
    return parse_identities(data, str(path))


def write_clip(opened: OpenedClip, folder: Path) -> Path:
    """Write a clip's audio as ``<clip>.flac``, readable by its user alone.

    Args:
        opened: the decrypted clip.
        folder: created if missing.

    Raises:
        Unavailable: it cannot be written.
        EarmarkError: the name exists with other content.
    """
    target = folder / f"{opened.header.clip}.flac"
    write_new(target, opened.flac)
    return target


def write_new(path: Path, data: bytes) -> None:
    """Write a file that does not exist; do nothing if it exists with the same content.

    Args:
        path: its folder is created if missing.
        data: the whole content.

    Raises:
        Unavailable: it cannot be written.
        EarmarkError: the name exists with other content.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(path, data)
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error


def _create(path: Path, data: bytes) -> None:
    try:
        # Not write_once, of which a kill leaves nothing: a memory card with a FAT file system has
        # no hard links.
        with create_file(path) as file:
            file.write(data)
    except FileExistsError:
        if not _has_content(path, data):
            raise EarmarkError(f"{path} exists with other content", "choose another name") from None


def _has_content(path: Path, data: bytes) -> bool:
    try:
        return read_plain_file(path, len(data)) == data
    except OSError:
        return False
