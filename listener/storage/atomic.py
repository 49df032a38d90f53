"""Durable files: atomic writes, folders, locks, and the ownership of new files.

A file written here is whole after a power cut: the old or the new content, never a mixture.

On a speaker under systemd, hear and send are two users. What both must reach lies in a folder with
the setgid bit and is shared with the folder's group; every other file is for its owner alone. Root
may run any command: a file or folder that root creates belongs to the owner of the folder that it
lies in, so that the services can read it.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from listener.errors import ConfigError, DiskFull, Unavailable
from listener.storage.free_space import is_full_error

PUBLIC_MODE: Final = 0o644
FileVersion = tuple[int, int, int]
"""Inode, size in bytes and time of change in ns of a file."""
SECRET_MODE: Final = 0o600
PART: Final = ".part"
"""Suffix of a file that is not completely written."""

_FOLDER_MODE: Final = 0o700


def make_folder(path: Path) -> None:
    """Create a folder for its owner alone, durably, with its parents.

    Raises:
        ConfigError: it exists and is world-writable.
        Unavailable: it cannot be created.
    """
    with translate_os_errors(path):
        if path.is_dir():
            mode = path.stat().st_mode
            if mode & stat.S_IWOTH:
                raise ConfigError(
                    f"{path} is world-writable", f"others could replace keys here: chmod 700 {path}"
                )
            return
        make_folders(path)
        sync_folder(path.parent)


def make_folders(path: Path, mode: int = _FOLDER_MODE) -> None:
    """Create a folder and the missing ones above it; those that exist stay as they are.

    As root, each new folder belongs to the owner of the folder that it lies in.

    Args:
        path: the folder.
        mode: permissions of the folder, reduced by the umask; those above it have the umask's.

    Raises:
        OSError: it cannot be created, or the name belongs to something else.
    """
    try:
        path.mkdir(mode)
    except FileNotFoundError:
        make_folders(path.parent, 0o777)
        path.mkdir(mode, exist_ok=True)
    except OSError:
        # Where it exists, a folder that is read-only may be reported first.
        if not path.is_dir():
            raise
        return
    chown_folder(path)


def chown_folder(path: Path) -> None:
    """As ``chown_to_parent``, with the path of a folder; a link is left alone.

    Raises:
        OSError: it is missing, or not a folder.
    """
    if os.geteuid() != 0 or path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        chown_to_folder_owner(handle, path.parent)
    finally:
        os.close(handle)


@contextlib.contextmanager
def create_file(
    path: Path | str,
    mode: int = SECRET_MODE,
    folder: int | None = None,
    *,
    is_durable: bool = True,
) -> Iterator[BinaryIO]:
    """Create a file for the block to write; after the block its bytes are on the disk.

    The name is durable only after ``sync_folder``. If the block fails, the file is removed; a
    process that is killed leaves a part of it, so use ``write_atomic`` or ``write_once`` for a name
    that others read.

    Args:
        path: the new file; an existing file or link is never opened.
        mode: permissions of the file, reduced by the umask.
        folder: a descriptor of the folder that ``path`` is relative to, if any.
        is_durable: False for a file that no later run reads: its bytes need not reach the disk.

    Raises:
        FileExistsError: the name exists.
        OSError: the file cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, mode, dir_fd=folder)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            yield file
            file.flush()
            if is_durable:
                os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path, dir_fd=folder)
        raise


@contextlib.contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; before and after the block it has no file.

    One writer at a time: a file of this name is what a killed writer left.

    Raises:
        OSError: the name cannot be freed.
    """
    part = path.with_name(f".{path.name}{PART}")
    part.unlink(missing_ok=True)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, mode: int = SECRET_MODE) -> None:
    """Write or replace a file, so that a power cut leaves the old or the new content, whole.

    On return, the new file and its name are on the disk. One writer at a time. A file that root
    writes belongs to the folder's owner.

    Args:
        path: in a folder that exists.
        data: the whole content.
        mode: the new file's permissions, whatever the old file's or the umask.

    Raises:
        Unavailable: the disk is full, missing or not writable; the old file is unchanged.
    """
    with translate_os_errors(path):
        with part_file(path) as part:
            _write_part(part, data, mode)
            part.replace(path)
        sync_folder(path.parent)


def write_shared(path: Path, data: bytes) -> None:
    """As ``write_atomic``; in a setgid folder the folder's group may read the file."""
    is_shared = path.parent.stat().st_mode & stat.S_ISGID
    # Not shared_mode: the group must not write.
    write_atomic(path, data, 0o640 if is_shared else SECRET_MODE)


def write_once(path: Path, data: bytes, mode: int = SECRET_MODE) -> None:
    """Write a file that does not exist, so that a power cut leaves it whole or absent.

    As ``write_atomic``, but an existing file or link is never replaced. The file system must have
    hard links, which FAT does not.

    Raises:
        FileExistsError: the name exists.
        OSError: the file cannot be written.
    """
    with part_file(path) as part:
        _write_part(part, data, mode)
        # A link fails where a rename would replace.
        os.link(part, path)
    sync_folder(path.parent)


def check_links(folder: Path) -> None:
    """Check by a trial that a folder's file system has hard links, which ``write_once`` needs.

    Other failures, such as a full disk, are left to the first write.

    Raises:
        ConfigError: it has none, as FAT, exFAT and some network file systems.
    """
    make_folder(folder)
    with contextlib.suppress(OSError), part_file(folder / "link") as part:
        part.touch(SECRET_MODE)
        try:
            with part_file(folder / "linked") as linked:
                os.link(part, linked)
        except OSError as error:
            if error.errno in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}:
                raise ConfigError(
                    f"{folder} is on a file system without hard links, such as FAT or exFAT",
                    "choose a folder on ext4, XFS or Btrfs",
                ) from error


def _write_part(part: Path, data: bytes, mode: int) -> None:
    with create_file(part, mode) as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        chown_to_folder_owner(file.fileno(), part.parent)


def read_version(path: Path, *, follow_links: bool = False) -> FileVersion | None:
    """Return what changes when a file is replaced or written; None if it cannot be read.

    Args:
        path: the file.
        follow_links: whether a link stands for the file that it names.
    """
    try:
        status = path.stat(follow_symlinks=follow_links)
    except (OSError, ValueError):  # the latter for a name that no file can have
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def open_plain_file(path: Path | str, folder: int | None = None) -> BinaryIO:
    """Open a regular file for reading, without following a link or waiting for a pipe.

    Args:
        path: the file.
        folder: a descriptor of the folder that ``path`` is relative to, if any.

    Raises:
        OSError: it is missing, or is a link, a pipe, a device or a folder.
    """
    return _open_regular(path, folder, os.O_NOFOLLOW)


def read_plain_file(
    path: Path | str, longest_bytes: int, folder: int | None = None, *, follow_links: bool = False
) -> bytes:
    """Return the content of a regular file of bounded size; never wait for another process.

    For every small file that another user or process could replace: by a pipe, which would make
    ``open`` wait without end; by a link to a device; or by a file that does not fit in memory.

    Args:
        path: the file.
        longest_bytes: limit of its size.
        folder: a descriptor of the folder that ``path`` is relative to, if any.
        follow_links: whether it may be a link to a regular file; only for files that an
            administrator names.

    Raises:
        OSError: it is missing, longer than ``longest_bytes``, or is a link, a pipe, a device or a
            folder.
    """
    with _open_regular(path, folder, 0 if follow_links else os.O_NOFOLLOW) as file:
        # The file's size and not the limit: Python allocates what it is asked to read, and hear
        # overwrites all memory that is freed.
        size_bytes = os.fstat(file.fileno()).st_size
        data = file.read(min(size_bytes, longest_bytes) + 1)
    if len(data) > longest_bytes:
        raise OSError(errno.EFBIG, f"it is longer than {longest_bytes} bytes", str(path))
    return data


def _open_regular(path: Path | str, folder: int | None, flags: int) -> BinaryIO:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=folder)
    # Before a file object is made of it: that of a folder would fail and leave it open.
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(handle, "rb")  # noqa: PTH123 - a descriptor, not a path


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Raises:
        OSError: they cannot be written.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def shared_mode(folder: int, mode: int = SECRET_MODE) -> int:
    """Return the permissions of a new file: its group gets its owner's where the folder is shared.

    Args:
        folder: a descriptor of the folder.
        mode: permissions where it is not shared.
    """
    if os.fstat(folder).st_mode & stat.S_ISGID:
        return mode | (mode & stat.S_IRWXU) >> 3
    return mode


def chown_to_parent(file: int, folder: int) -> None:
    """As root, give a file of root's to the owner of its folder; otherwise do nothing.

    A file with a second name is left alone: the folder's owner may have put it there, and the
    other name may be anything.

    Args:
        file: a descriptor of a regular file or a folder.
        folder: a descriptor of the folder that it lies in.
    """
    if os.geteuid() != 0:
        return
    status, owner = os.fstat(file), os.fstat(folder)
    if (
        status.st_uid == 0
        and owner.st_uid != 0
        and (stat.S_ISDIR(status.st_mode) or status.st_nlink == 1)
    ):
        os.fchown(file, owner.st_uid, -1)


def chown_to_folder_owner(file: int, folder: Path) -> None:
    """As ``chown_to_parent``, with the folder's path."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        chown_to_parent(file, handle)
    finally:
        os.close(handle)


def check_regular_file(path: Path) -> None:
    """Check a file that a library opens by its name: at a pipe it would wait.

    Raises:
        OSError: there is no such file, or it is not a regular one.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


LOCK_PATIENCE_S: Final = 10.0
"""Longest wait for a lock in a command or in send, in seconds."""
_LOCK_PAUSE_S: Final = 0.001
_PROBE_S: Final = 0.2
"""Wait of a command that starts while ``is_running`` holds its lock for a moment."""


def wait_for_lock(file: int, patience_s: float = LOCK_PATIENCE_S) -> None:
    """Lock a file or folder exclusively (``flock``); wait while another process holds the lock.

    Args:
        file: a descriptor.
        patience_s: longest wait in seconds; at 0, none.

    Raises:
        TimeoutError: another process held the lock for the whole time.
        OSError: it cannot be locked.
    """
    until_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise TimeoutError(
                    errno.ETIMEDOUT, "another process does not release its lock"
                ) from None
            time.sleep(_LOCK_PAUSE_S)
        else:
            return


@contextlib.contextmanager
def hold_lock(path: Path, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
    """Hold a lock file, exclusively among processes and threads; wait while another holds it.

    The file stays: to remove it would let two processes hold locks of the same name.

    Args:
        path: the lock file.
        patience_s: longest wait in seconds.

    Raises:
        OSError: the file cannot be created, or another process holds the lock for too long.
    """
    with _open_lock(path) as file:
        wait_for_lock(file, patience_s)
        yield


@contextlib.contextmanager
def single_instance(folder: Path, verb: str) -> Iterator[None]:
    """Keep every other process of this command out of ``folder`` while the block runs.

    Two would disconnect each other at the broker. The kernel releases the lock when the process
    ends, even if it is killed.

    Raises:
        Unavailable: one runs already, or the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with translate_os_errors(folder):
            make_folders(folder)
            file = stack.enter_context(_open_lock(folder / f"{verb}.lock"))
        try:
            wait_for_lock(file, _PROBE_S)
        except TimeoutError as error:
            raise Unavailable(
                f"another earmark {verb} already runs on {folder}", "stop it first"
            ) from error
        yield


def is_running(folder: Path, verb: str) -> bool | None:
    """Return whether a process holds the lock of ``single_instance``.

    Args:
        folder: as for ``single_instance``; nothing is created in it.
        verb: as for ``single_instance``.

    Returns:
        None if this user may not read the lock file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(folder / f"{verb}.lock", flags)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    try:
        # Shared, and released at once; a process that starts meanwhile waits for `_PROBE_S`.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


@contextlib.contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, SECRET_MODE)
    try:
        chown_to_folder_owner(file, path.parent)
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` about a path into ``Unavailable``, or ``DiskFull`` if it is that."""
    try:
        yield
    except OSError as error:
        if is_full_error(error):
            raise DiskFull(path) from error
        raise Unavailable(f"cannot use {path}: {error.strerror or error}") from error
