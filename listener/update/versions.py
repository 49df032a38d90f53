"""Folder of installed versions: the current one, the state of an update, and removal.

Every change is one atomic rename of a link or a file, and durable when the call returns.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.release import state
from listener.release.state import UpdateState
from listener.release.versions import is_version
from listener.storage.atomic import PUBLIC_MODE, read_plain_file, sync_folder, write_atomic

CURRENT: Final = "current"
GUARD: Final = "guard"
"""Link to the version that began an update; exists only during an update."""
MADE: Final = ".release"
"""Marker in a version that an update installed; versions of the package manager have none."""
STAGED: Final = ".staged"


class Versions:
    """Versions in one folder. The constructor touches no file.

    Args:
        folder: such as ``/opt/earmark``.

    Raises:
        Unavailable: from every method, when the folder is missing, full or may not be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.staged: Final = folder / STAGED
        self._journal: Final = folder / state.FILE

    def current(self) -> str:
        """Return the current version.

        Raises:
            ConfigError: ``current`` is missing, or does not point to a version.
        """
        version = self._link(CURRENT)
        if version is None or not is_version(version):
            raise ConfigError(
                f"{self.folder / CURRENT} does not point to a version",
                "install the Debian package earmark, or pass --folder",
            )
        return version

    def is_installed(self, version: str) -> bool:
        """Return whether a version is installed completely."""
        return (self.folder / version / ".complete").is_file()

    def program(self, version: str) -> Path:
        """Return the path of a version's program `earmark`."""
        return self.folder / version / "bin" / "earmark"

    def switch_to(self, version: str) -> None:
        """Point ``current`` to a version, atomically."""
        self._put_link(CURRENT, version)

    def write_guard(self, version: str | None) -> None:
        """Record the version that began an update; None removes the record."""
        if version is not None:
            self._put_link(GUARD, version)
            return
        with _available(self.folder):
            (self.folder / GUARD).unlink(missing_ok=True)
            sync_folder(self.folder)

    def read(self) -> UpdateState:
        """Return the recorded state.

        Raises:
            ConfigError: it is damaged.
        """
        with _available(self._journal):
            try:
                data = read_plain_file(self._journal, state.LIMIT_BYTES)
            except FileNotFoundError:
                return UpdateState()
        return state.parse(data, str(self._journal))

    def write(self, noted: UpdateState) -> UpdateState:
        """Record a state, and return it."""
        write_atomic(self._journal, state.render(noted), PUBLIC_MODE)
        return noted

    def remove(self, version: str) -> None:
        """Remove a version, unless it is the current one."""
        if is_version(version) and version != self._link(CURRENT):
            _remove(self.folder / version)

    def clear_staged(self) -> None:
        """Remove unpacked files."""
        _remove(self.staged)

    def prune(self, keep: set[str]) -> None:
        """Remove the versions that updates installed, except these and the current one."""
        with _available(self.folder):
            names = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        for name in names:
            if name not in keep and (self.folder / name / MADE).is_file():
                self.remove(name)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of updates until the block ends.

        Raises:
            EarmarkError: another update holds it.
        """
        with _available(self.folder):
            file = os.open(
                self.folder / ".lock",
                os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                0o600,
            )
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise EarmarkError(
                    "another earmark update is running", "wait until it has ended"
                ) from error
            yield
        finally:
            os.close(file)

    def _link(self, name: str) -> str | None:
        try:
            return (self.folder / name).readlink().name
        except OSError:
            return None

    def _put_link(self, name: str, version: str) -> None:
        if self._link(name) == version:
            return
        fresh = self.folder / f".{name}.new"
        with _available(self.folder):
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(version)
            fresh.replace(self.folder / name)
            sync_folder(self.folder)


def _remove(path: Path) -> None:
    with _available(path), contextlib.suppress(FileNotFoundError):
        # The marker of completeness first, so that a partly removed version is not taken for one.
        (path / ".complete").unlink(missing_ok=True)
        shutil.rmtree(path)


@contextlib.contextmanager
def _available(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"cannot use {path}: {error.strerror}", "run as root: sudo earmark update …"
        ) from error
