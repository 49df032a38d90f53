"""The folder of versions: which one runs, what is noted, and what may go.

Everything that counts is one rename of a link or a file, and on the disk when the call returns.
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
from listener.storage.atomic import PUBLIC_MODE, sync_folder, write_atomic

CURRENT: Final = "current"
GUARD: Final = "guard"
"""Points to the version that began an update, and is there only while one is under way."""
MADE: Final = ".release"
"""In a version that an update made: what the package manager made is not ours to remove."""
STAGED: Final = ".staged"


class Versions:
    """The versions in one folder. Making the object touches nothing.

    Args:
        folder: such as ``/opt/earmark``.

    Raises:
        Unavailable: from every method, when the disk is full, missing or not ours to use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.staged: Final = folder / STAGED
        self._journal: Final = folder / state.FILE

    def current(self) -> str:
        """Return the version that runs.

        Raises:
            ConfigError: ``current`` is missing, or points to no version.
        """
        version = self._link(CURRENT)
        if version is None or not is_version(version):
            raise ConfigError(
                f"{self.folder / CURRENT} points to no version",
                "the Debian package makes it: is earmark installed? --folder names another place",
            )
        return version

    def is_installed(self, version: str) -> bool:
        """Say whether a version is here, whole."""
        return (self.folder / version / ".complete").is_file()

    def program(self, version: str) -> Path:
        """Return the command line of a version."""
        return self.folder / version / "bin" / "earmark"

    def switch_to(self, version: str) -> None:
        """Let ``current`` point to a version: before or after, never to nothing."""
        self._put_link(CURRENT, version)

    def write_guard(self, version: str | None) -> None:
        """Note who began an update, or that none is under way."""
        if version is not None:
            self._put_link(GUARD, version)
            return
        with _available(self.folder):
            (self.folder / GUARD).unlink(missing_ok=True)
            sync_folder(self.folder)

    def read(self) -> UpdateState:
        """Return what is noted.

        Raises:
            ConfigError: it is damaged.
        """
        with _available(self._journal):
            try:
                data = self._journal.read_bytes()
            except FileNotFoundError:
                return UpdateState()
        return state.parse(data, str(self._journal))

    def write(self, noted: UpdateState) -> UpdateState:
        """Note something, and return it."""
        write_atomic(self._journal, state.render(noted), PUBLIC_MODE)
        return noted

    def remove(self, version: str) -> None:
        """Remove a version that an update made; never the one that runs."""
        if is_version(version) and version != self._link(CURRENT):
            _remove(self.folder / version)

    def clear_staged(self) -> None:
        """Remove what was unpacked."""
        _remove(self.staged)

    def prune(self, keep: set[str]) -> None:
        """Remove the versions that updates made, but these and the one that runs."""
        with _available(self.folder):
            names = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        for name in names:
            if name not in keep and (self.folder / name / MADE).is_file():
                self.remove(name)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other update out until the block ends.

        Raises:
            EarmarkError: another one is at work.
        """
        with _available(self.folder):
            file = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise EarmarkError("another earmark update is at work") from error
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
        # First what says that it is whole, so that half of it never passes for one.
        (path / ".complete").unlink(missing_ok=True)
        shutil.rmtree(path)


@contextlib.contextmanager
def _available(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"cannot use {path}: {error.strerror}", "updates are root's: sudo earmark update …"
        ) from error
