"""``make lock``: resolve the requirements of pyproject.toml, and pin one wheel for each package.

uv resolves for other Python versions and machines than its own; pip fetches each wheel once, so
that a lock lists exactly one file for each package, and neither an address nor a source archive.
"""

import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from firmware import wheels
from firmware.programs import BuildError, must
from firmware.wheels import GLIBC, ROOT, TARGETS, Pin, Target

EXTRAS: Final = ("assist", "device", "household")
"""Extras that the package contains: a live microphone, and the archive of a household."""
ALONE: Final = ("openwakeword",)
"""Packages locked without dependencies: openwakeword is read for its models, never imported."""
TOOLS: Final = ("pip==26.3", "setuptools==84.2.1")
"""The tools that build Earmark's wheel and install all wheels on the speaker."""


def main() -> int:
    """Write every lock file; on failure the remaining ones stay unchanged."""
    alone, rest = declared()
    try:
        for target in TARGETS:
            wanted = (*_resolved(rest, target), *alone)
            _write(target.lock, f"Python {target.python}, {target.machine}", wanted, target.tags())
        _write(wheels.TOOLS, "What builds and installs", TOOLS, ())
    except BuildError as error:
        print(f"earmark: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"earmark: hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def declared() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the requirements of pyproject.toml: those without dependencies, and the rest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = set(project["dependencies"])
    for extra in EXTRAS:
        requirements.update(project["optional-dependencies"][extra])
    alone = {line for line in requirements if line.partition("==")[0] in ALONE}
    return tuple(sorted(alone)), tuple(sorted(requirements - alone))


def _resolved(requirements: Iterable[str], target: Target) -> tuple[str, ...]:
    """Return ``name==version`` of everything that the requirements need on ``target``."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-config"),
        *("--no-header", "--no-annotate", "--only-binary", ":all:"),
        *("--python-version", target.python),
        *("--python-platform", f"{target.machine}-manylinux_2_{GLIBC}"),
    ]
    resolved = must(command, "run make lock, which installs uv", stdin="\n".join(requirements))
    return tuple(line for line in resolved.split() if "==" in line)


def _write(lock: Path, about: str, wanted: Iterable[str], tags: Iterable[str]) -> None:
    """Fetch each wheel, and write its name, version and hash."""
    with tempfile.TemporaryDirectory() as folder:
        wheels.pip(
            *("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder),
            *tags,
            *wanted,
        )
        pins = sorted(_pin(file) for file in Path(folder).iterdir())
    text = f"# {about}: made by `make lock`, and not by hand.\n"
    lock.write_text(text + "".join(f"{pin}\n" for pin in pins), "ascii")
    print(f"{lock.name}: {len(pins)} wheels")


def _pin(wheel: Path) -> Pin:
    name, version, *_ = wheel.name.split("-")
    return Pin(re.sub(r"[-_.]+", "-", name).lower(), version, wheels.sha256(wheel))


if __name__ == "__main__":
    sys.exit(main())
