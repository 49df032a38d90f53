"""Reply keys: one key pair for each ask, in memory only; its public key is laid ready for hear.

A key is bound to the first ask that hear names with it, and is dropped when a reply was taken, a
newer ask came, or the speaker was muted. pyrage's Rust code overwrites a secret key when it is
dropped.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

import pyrage

from listener.ipc.voice_paths import REPLY_KEY
from listener.storage.atomic import PUBLIC_MODE


class ReplyKeys:
    """The key laid ready, and the key of the latest ask. For one thread.

    Args:
        folder: the runtime folder ``voice``.
    """

    def __init__(self, folder: Path) -> None:
        self._path: Final = folder / REPLY_KEY
        self._ready: pyrage.x25519.Identity | None = None
        self._ready_public = ""
        self._bound: tuple[str, pyrage.x25519.Identity] | None = None
        self.lay_ready()

    @property
    def public(self) -> str:
        """The public key that is laid ready, ``age1…``."""
        return self._ready_public

    def lay_ready(self) -> None:
        """Make a key pair if there is none, and write its public key if it is not there.

        A folder that cannot be written is tried again at the next call; an ask then has no reply
        key.
        """
        if self._ready is None:
            self._ready = pyrage.x25519.Identity.generate()
            self._ready_public = str(self._ready.to_public())
            with contextlib.suppress(OSError):
                self._path.unlink()
        if not self._path.exists():
            with contextlib.suppress(OSError):
                self._write(self._ready_public)

    def bind(self, ask: str, reply: str) -> None:
        """Bind the key laid ready to an ask, if it is the ask's; drop the key of any other ask.

        Args:
            ask: id of the latest ask.
            reply: the reply key that it named.
        """
        if self._bound is not None and self._bound[0] == ask:
            return
        self._bound = None
        if self._ready is not None and reply == self._ready_public:
            self._bound, self._ready = (ask, self._ready), None
        self.lay_ready()

    def take(self, ask: str) -> object | None:
        """Return the secret key of an ask once, pyrage's opaque object; afterwards None."""
        if self._bound is None or self._bound[0] != ask:
            return None
        key: object = self._bound[1]
        self._bound = None
        return key

    def drop(self) -> None:
        """Drop the key of the latest ask."""
        self._bound = None

    def close(self) -> None:
        """Drop all keys and remove the public key."""
        self._ready = self._bound = None
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _write(self, public: str) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        part.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(part, flags, PUBLIC_MODE)
        try:
            os.fchmod(file, PUBLIC_MODE)
            os.write(file, public.encode("ascii") + b"\n")
        finally:
            os.close(file)
        part.replace(self._path)
