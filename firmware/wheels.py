"""Which wheels a speaker runs: what a lock file says, and fetching exactly that.

Standard library only: ``firmware/install.sh`` builds the package on a board that has nothing else.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware.programs import BuildError, must

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ROOT / "firmware" / "lock"
TOOLS: Final = LOCKS / "tools.txt"
"""The one lock that is not a speaker's: what builds and installs."""
GLIBC: Final = 28
"""Wheels may ask for glibc 2.28 at most: Debian 12 has 2.36, Raspberry Pi OS 2.41."""
ARCHITECTURES: Final = {"arm64": "aarch64", "amd64": "x86_64"}
"""What Debian calls a machine, and what Python does."""
PYTHONS: Final = ("3.11", "3.13")
"""Debian 12 and Debian 13, and Raspberry Pi OS of the same year."""

_PIN: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[0-9][0-9A-Za-z.+!]*)"
    r" --hash=sha256:(?P<sha256>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """One wheel, and no other."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        """Return the line of a lock file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Target:
    """A Python on a machine."""

    python: str
    machine: str

    @property
    def lock(self) -> Path:
        """The file that says what runs there."""
        return LOCKS / f"{self.python}-{self.machine}.txt"

    def tags(self) -> Iterator[str]:
        """Yield pip's options for this target, whatever pip itself runs on."""
        yield from ("--implementation", "cp", "--python-version", self.python)
        yield from ("--abi", "cp" + self.python.replace(".", ""))
        for minor in range(GLIBC, 16, -1):
            yield from ("--platform", f"manylinux_2_{minor}_{self.machine}")
        yield from ("--platform", f"manylinux2014_{self.machine}")


TARGETS: Final = tuple(
    Target(python, machine) for machine in ARCHITECTURES.values() for python in PYTHONS
)


def parse(text: str, source: str) -> tuple[Pin, ...]:
    """Read a lock file: one wheel a line, ``#`` begins a comment.

    Raises:
        BuildError: a line is anything else, an address or an option above all.
    """
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        found = _PIN.fullmatch(line)
        if found is None:
            raise BuildError(f"{source}:{number} is no pinned wheel", "make lock remakes it")
        pins.append(Pin(**found.groupdict()))
    names = [pin.name for pin in pins]
    if names != sorted(set(names)):
        raise BuildError(f"{source} is not sorted, or names a wheel twice", "make lock remakes it")
    return tuple(pins)


def read(lock: Path) -> tuple[Pin, ...]:
    """Read the lock file ``lock``.

    Raises:
        BuildError: it is not there, or no lock file.
    """
    try:
        return parse(lock.read_text("ascii"), lock.name)
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"cannot read {lock}", "make lock makes it") from error


def fetch(
    pins: Sequence[Pin], tags: Iterable[str], cache: Path, offline: Path | None = None
) -> tuple[Path, ...]:
    """Return the wheels of ``pins``, in their order; what the cache lacks is fetched.

    Args:
        pins: what is wanted.
        tags: see ``Target.tags``; none for wheels that run anywhere.
        cache: a folder of wheels, which is made and added to.
        offline: a folder of wheels that is asked instead of a package index.

    Raises:
        BuildError: a wheel is not to be had, or is another than its pin says.
    """
    cache.mkdir(parents=True, exist_ok=True)
    known = _by_hash(cache)
    if offline is not None:
        known |= _by_hash(offline)
    missing = [pin for pin in pins if pin.sha256 not in known]
    if missing and offline is not None:
        names = ", ".join(f"{pin.name} {pin.version}" for pin in missing)
        raise BuildError(f"{offline} lacks {names}", "the hashes in firmware/lock/ say which files")
    if missing:
        _download(missing, tags, cache)
        known |= _by_hash(cache)
    return tuple(known[pin.sha256] for pin in pins)


def pip(*words: str) -> None:
    """Run this Python's pip, without asking whether it is the newest.

    Raises:
        BuildError: it fails; the message has what it said.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    must(command, "apt-get install python3-pip, if there is none")


def sha256(file: Path) -> str:
    """Return the digest of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _download(pins: Sequence[Pin], tags: Iterable[str], cache: Path) -> None:
    wanted = cache / "wanted.txt"
    wanted.write_text("".join(f"{pin}\n" for pin in pins), "ascii")
    # The hashes decide; the tags only tell pip which file to offer. No dependency is followed.
    pip(
        *("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--requirement", str(wanted), "--dest", str(cache), *tags),
    )


def _by_hash(folder: Path) -> dict[str, Path]:
    return {sha256(file): file for file in sorted(folder.glob("*.whl"))}
