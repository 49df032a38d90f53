"""Defaults of ``earmark clips`` on the owner's computer: name, paths and the archive's address.

The file holds paths, never a key. It is ``<home>/clips.toml``, and may be edited.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
import tomli_w
from msgspec import Meta

from listener.config import PathText, ShortName
from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.storage.atomic import PUBLIC_MODE, make_folder, read_plain_file, write_atomic

FILE: Final = "clips.toml"
CA: Final = "ca.crt"
"""Certificate of the household's authority in the folder of the trust store, from a bundle."""
_LIMIT_BYTES: Final = 64 << 10


class RememberedClips(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Defaults of the options of ``earmark clips``."""

    owner: ShortName | None = None
    identity: PathText | None = None
    """Path of the file with the owner's secret key."""
    archive: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,300}\Z")] | None = None
    """Address of the archive, or the path of its socket."""
    ca: PathText | None = None
    """Path of the household's CA certificate."""


def read_remembered(home: Path) -> RememberedClips:
    """Return what the file says; nothing where there is none.

    Raises:
        ConfigError: the file is damaged.
        Unavailable: the file cannot be read.
    """
    path = home / FILE
    try:
        text = read_plain_file(path, _LIMIT_BYTES, follow_links=True).decode("utf-8")
        return msgspec.convert(tomllib.loads(text), RememberedClips)
    except FileNotFoundError:
        return RememberedClips()
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} is damaged: {error}", "correct it, or remove it and pass the options"
        ) from error


def remember(home: Path, remembered: RememberedClips) -> Path:
    """Write the file, keeping earlier values of fields that are None; return its path.

    Raises:
        ConfigError: the file is damaged.
        Unavailable: the file cannot be written.
    """
    before = read_remembered(home)
    if before.owner not in {None, remembered.owner}:
        before = RememberedClips()  # another owner's key and archive
    fields = msgspec.to_builtins(before) | {
        name: value for name, value in msgspec.to_builtins(remembered).items() if value is not None
    }
    make_folder(home)
    known = {name: value for name, value in fields.items() if value is not None}
    write_atomic(home / FILE, tomli_w.dumps(known).encode("utf-8"), PUBLIC_MODE)
    return home / FILE


def store_ca(home: Path, folder: Path, pem: str) -> Path:
    """Store the household's CA certificate from a bundle, unless it is known; return its path.

    Args:
        home: the data directory; a machine that joined has the certificate in ``tls/``.
        folder: the folder of the trust store.
        pem: the certificate.

    Raises:
        EarmarkError: this machine knows another certificate of the household.
    """
    joined = home / "tls" / CA
    path = joined if joined.exists() else folder / CA
    try:
        known = path.read_text("ascii") if path.exists() else None
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot read {path}") from error
    if known is not None and known.split() != pem.split():
        raise EarmarkError(
            f"the bundle is of another household: its CA certificate differs from {path}",
            "ask your household; if it was set up again, remove that file",
        )
    if known is None:
        make_folder(folder)
        write_atomic(path, pem.encode("ascii", "replace"), PUBLIC_MODE)
    return path
