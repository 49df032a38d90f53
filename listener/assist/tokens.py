"""Access tokens of Home Assistant, from files.

They are read for each connection: a new one needs no restart.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from listener.errors import ConfigError, Unavailable
from listener.storage.atomic import read_plain_file
from listener.text_encoding import NotUtf8Error, decode_text

_LONGEST_BYTES: Final = 4 << 10
_HINT: Final = "create a long-lived access token in Home Assistant and write it into that file"


class TokenFiles:
    """The general token, and tokens of owners.

    Args:
        general: file of the token for everything that is not an owner's command.
        owners: files by owner.
    """

    def __init__(self, general: str | None, owners: Mapping[str, str]) -> None:
        self._general = general
        self._owners = dict(owners)

    def __call__(self, owner: str) -> str:
        """Return the token of an owner, or the general one for an empty name or without it.

        Raises:
            Unavailable: the file cannot be used now.
        """
        try:
            return self.read(owner)
        except ConfigError as error:
            raise Unavailable(str(error), error.hint) from error

    def check(self) -> None:
        """Check all files.

        Raises:
            ConfigError: one is missing, damaged, or readable by every user.
        """
        for owner in ("", *self._owners):
            self.read(owner)

    def read(self, owner: str) -> str:
        """Return a token; see ``__call__``.

        Raises:
            ConfigError: the file is missing, damaged, or readable by every user.
        """
        named = self._owners.get(owner, self._general)
        if named is None:
            raise ConfigError("assist.token_file is not set", _HINT)
        path = Path(named)
        try:
            if path.stat().st_mode & 0o007:
                raise ConfigError(
                    f"the token in {path} is readable by every user", f"chmod 600 {path}"
                )
            text = decode_text(read_plain_file(path, _LONGEST_BYTES, follow_links=True)).strip()
        except NotUtf8Error as error:
            raise ConfigError(f"cannot read the token in {path}: {error}", _HINT) from error
        except OSError as error:
            raise ConfigError(f"cannot read the token in {path}", _HINT) from error
        if not (text.isascii() and text.isprintable() and text):
            raise ConfigError(f"the token in {path} is empty or damaged", _HINT)
        return text
