"""Lock files of the speaker's wheels, and fetching exactly the wheels they pin.

Standard library only: ``firmware/install.sh`` can build the package on a board without other
libraries.
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
"""The lock of the build tools, which are not installed on a speaker."""
GLIBC: Final = 28
"""Minor version of the newest glibc 2 that wheels can require; Debian 12 has 2.36."""
ARCHITECTURES: Final = {"arm64": "aarch64", "amd64": "x86_64"}
"""Names of a machine: Debian's architecture to Python's ``platform.machine()``."""
PYTHONS: Final = ("3.11", "3.13")
"""Versions of Debian 12 and 13, and of the Raspberry Pi OS based on them."""

_PIN: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[0-9][0-9A-Za-z.+!]*)"
    r" --hash=sha256:(?P<sha256>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """One wheel, identified by its hash."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        """Return the line of a lock file."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Target:
    """A Python version on a machine."""

    python: str
    machine: str

    @property
    def lock(self) -> Path:
        """Path of its lock file."""
        return LOCKS / f"{self.python}-{self.machine}.txt"

    def tags(self) -> Iterator[str]:
        """Yield pip's options that select wheels for this target."""
        yield from ("--implementation", "cp", "--python-version", self.python)
        yield from ("--abi", "cp" + self.python.replace(".", ""))
        for minor in range(GLIBC, 16, -1):
            yield from ("--platform", f"manylinux_2_{minor}_{self.machine}")
        yield from ("--platform", f"manylinux2014_{self.machine}")


TARGETS: Final = tuple(
    Target(python, machine) for machine in ARCHITECTURES.values() for python in PYTHONS
)


def parse(text: str, source: str) -> tuple[Pin, ...]:
    """Parse a lock file: one wheel a line, ``#`` begins a comment.

    Raises:
        BuildError: a line is not a pin (so no address and no option), or the pins are not sorted.
    """
    pins = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = _PIN.fullmatch(line)
        if match is None:
            raise BuildError(f"{source}:{number} is not a pinned wheel", "run make lock")
        pins.append(Pin(**match.groupdict()))
    names = [pin.name for pin in pins]
    if names != sorted(set(names)):
        raise BuildError(f"{source} is not sorted, or lists a wheel twice", "run make lock")
    return tuple(pins)


def read(lock: Path) -> tuple[Pin, ...]:
    """Read a lock file.

    Raises:
        BuildError: it does not exist or is not a lock file.
    """
    try:
        return parse(lock.read_text("ascii"), lock.name)
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"cannot read {lock}", "run make lock") from error


def fetch(
    pins: Sequence[Pin], tags: Iterable[str], cache: Path, offline: Path | None = None
) -> tuple[Path, ...]:
    """Return the wheels of ``pins``, in their order; download those that the cache lacks.

    Args:
        pins: the wheels.
        tags: options of ``Target.tags``; none for wheels of any platform.
        cache: folder of wheels; created and extended.
        offline: folder of wheels that is used instead of a package index.

    Raises:
        BuildError: a wheel is not available, or its hash differs from its pin.
    """
    cache.mkdir(parents=True, exist_ok=True)
    known = _by_hash(cache)
    if offline is not None:
        known |= _by_hash(offline)
    missing = [pin for pin in pins if pin.sha256 not in known]
    if missing and offline is not None:
        names = ", ".join(f"{pin.name} {pin.version}" for pin in missing)
        raise BuildError(
            f"{offline} lacks {names}", "copy the files whose hashes are in firmware/lock/"
        )
    if missing:
        _download(missing, tags, cache)
        known |= _by_hash(cache)
    return tuple(known[pin.sha256] for pin in pins)


def pip(*words: str) -> None:
    """Run pip of this Python, without its version check.

    Raises:
        BuildError: it fails; the message has the end of its stderr.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    must(command, "run apt-get install python3-pip")


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _download(pins: Sequence[Pin], tags: Iterable[str], cache: Path) -> None:
    wanted = cache / "wanted.txt"
    wanted.write_text("".join(f"{pin}\n" for pin in pins), "ascii")
    # The hashes select the file; the tags only tell pip which platform to look for.
    pip(
        *("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--requirement", str(wanted), "--dest", str(cache), *tags),
    )


def _by_hash(folder: Path) -> dict[str, Path]:
    return {sha256(file): file for file in sorted(folder.glob("*.whl"))}
