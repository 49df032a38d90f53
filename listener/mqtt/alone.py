"""One process of a kind for each home: two would take each other's connection at the broker."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from listener.errors import Unavailable


@contextlib.contextmanager
def single_instance(folder: Path, verb: str) -> Iterator[None]:
    """Keep every other process of this verb out of ``folder`` while the block runs.

    The kernel lets go when the process ends, however it ends.

    Raises:
        Unavailable: one runs already, or the folder cannot be written.
    """
    path = folder / f"{verb}.lock"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot use the folder {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unavailable(
                f"another earmark {verb} already runs on {folder}", "stop it first"
            ) from error
        yield
    finally:
        os.close(handle)
