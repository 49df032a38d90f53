"""Files that a power cut leaves whole: the old or the new one, and never something between.

Nothing here knows what is in them. What root makes belongs to whom the folder belongs.

Whose a new file is: the folder says it.

On a speaker that systemd runs, hear and send are two users. What both must reach lies in a folder
with the setgid bit, and is shared with that folder's group; everywhere else a file is for its
owner alone. Root may run any verb there: what it makes belongs to whom the folder belongs, or the
services could not read it.

One process of a kind for each home: two would take each other's connection at the broker.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import ConfigError, Unavailable

_FOR_ITS_OWNER = 0o600


def shared_mode(folder: int, mode: int = _FOR_ITS_OWNER) -> int:
    """Return the permissions of a new file: its group gets its owner's where the folder is shared.

    Args:
        folder: a descriptor of the folder.
        mode: where it is not shared.
    """
    if os.fstat(folder).st_mode & stat.S_ISGID:
        return mode | (mode & stat.S_IRWXU) >> 3
    return mode


def chown_to_parent(file: int, folder: int) -> None:
    """As root, give a file of root's to whom its folder belongs. Nobody else can, or need.

    A file with a second name is left alone: whoever owns the folder may have put it there, and the
    other name may be anything.

    Args:
        file: a descriptor of a plain file or a folder.
        folder: a descriptor of the folder that it lies in.
    """
    if os.geteuid() != 0:
        return
    found, owner = os.fstat(file), os.fstat(folder)
    if (
        found.st_uid == 0
        and owner.st_uid != 0
        and (stat.S_ISDIR(found.st_mode) or found.st_nlink == 1)
    ):
        os.fchown(file, owner.st_uid, -1)


PUBLIC_MODE: Final = 0o644
SECRET_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


def make_folder(path: Path) -> None:
    """Make a folder for its owner's eyes only, durably, with the folders above it.

    Raises:
        ConfigError: it is there and everybody can write to it.
        Unavailable: it cannot be made.
    """
    with translate_os_errors(path):
        if path.is_dir():
            mode = path.stat().st_mode
            if mode & stat.S_IWOTH:
                raise ConfigError(
                    f"everybody can write to {path}",
                    f"whoever can replace keys and roster there is the household: chmod 700 {path}",
                )
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        sync_folder(path.parent)


def write_atomic(path: Path, data: bytes, mode: int = SECRET_MODE) -> None:
    """Write or replace a file, so that a power cut leaves the old or the new one, whole.

    When it returns, the new one is on the disk and will be found there. One writer at a time.
    What root writes belongs to whom the folder belongs.

    Args:
        path: in a folder that exists.
        data: all of it.
        mode: the new file's permissions, whatever the old one's or the umask.

    Raises:
        Unavailable: the disk is full, missing or not ours to write; the old file stands.
    """
    fresh = path.with_name(f".{path.name}.new")
    with translate_os_errors(path):
        fresh.unlink(missing_ok=True)  # a killed writer's
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(file, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
                stream.write(data)
                stream.flush()
                os.fchmod(file, mode)
                _chown_to_parent(file, path.parent)
                os.fsync(file)
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def _chown_to_parent(file: int, path: Path) -> None:
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        chown_to_parent(file, folder)
    finally:
        os.close(folder)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Raises:
        OSError: they cannot be.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock file, alone among processes and threads; waits for whoever has it.

    The file stays: to remove it would let two hold locks of the same name.

    Raises:
        OSError: it cannot be made; the caller knows what that means.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, SECRET_MODE)
    try:
        _chown_to_parent(file, path.parent)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


@contextlib.contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Turn what the system says about a path into one of our errors."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot use {path}: {error.strerror}") from error


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
