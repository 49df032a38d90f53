"""``make compat``: the unit tier with the lowest declared dependencies, and with the newest.

The lowest run on Python 3.11, each library at the floor that pyproject.toml declares; the newest
run on Python 3.13. Where there is no Python 3.13, a Debian 13 runs it (root, mmdebstrap). Tools of
the dev extra are pinned and the same in both.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from firmware import wheels
from firmware.programs import BuildError, must
from firmware.wheels import ROOT, Target

BUILD: Final = ROOT / "build"
SYSTEM: Final = BUILD / "compat-debian-13"
"""Root file system of the Debian that runs Python 3.13."""
GLIBC: Final = 40
"""The newest that uv knows; Debian 13 has 2.41."""
PACKAGES: Final = (
    *("age", "flac", "fonts-dejavu-core", "git", "libportaudio2", "linux-libc-dev", "mosquitto"),
    *("python3", "python3-venv", "strace", "systemd"),
)
LOWEST: Final = "3.11"
NEWEST: Final = "3.13"
TOOLS: Final = "dev"
"""The extra whose pins are no floors."""
MOUNTS: Final = """
mount --bind "$0" "$0"
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
mkdir -p "$0$1"
mount --bind "$1" "$0$1"
mkdir -p "$0/old"
cd "$0"
pivot_root . old
umount --lazy /old
exec chroot . sh -c 'cd "$0" && exec "$@"' "$@"
"""
"""In a mount namespace of its own: the checkout at its own path in the other root file system.

The root is exchanged: below a chroot, Landlock would take the checkout for a folder above /tmp.
"""


def main(options: Sequence[str]) -> int:
    """Run both legs with these options of pytest; return 1 if a test of either fails."""
    try:
        commands = {f"lowest, Python {LOWEST}": lowest(), f"newest, Python {NEWEST}": newest()}
    except BuildError as error:
        print(f"earmark: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"earmark: hint: {error.hint}", file=sys.stderr)
        return 1
    failed = []
    for name, command in commands.items():
        print(f"== {name}", flush=True)
        words = [*command, "-m", "pytest", "-p", "no:cacheprovider", *options]
        if subprocess.run(words, check=False, cwd=ROOT).returncode != 0:
            failed.append(name)
    print(f"failed: {'; '.join(failed)}" if failed else "both passed")
    return 1 if failed else 0


def floors(project: Mapping[str, Any]) -> Iterator[str]:
    """Yield ``name==version`` for each floor that a project declares, outside the dev extra.

    Args:
        project: the table ``[project]`` of pyproject.toml.
    """
    extras = project.get("optional-dependencies", {})
    named = {*project.get("dependencies", ())}
    for extra, requirements in extras.items():
        if extra != TOOLS:
            named.update(requirements)
    for requirement in map(Requirement, sorted(named)):
        for one in requirement.specifier:
            if one.operator == ">=":
                yield f"{requirement.name}=={one.version}"


def lowest() -> list[str]:
    """Make the environment of the floors; return the command of its Python."""
    place = BUILD / "compat-lowest"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    BUILD.mkdir(exist_ok=True)
    pins = BUILD / "compat-floors.txt"
    pins.write_text("".join(f"{pin}\n" for pin in sorted(set(floors(project)))), "ascii")
    _uv("venv", "--clear", "--python", LOWEST, str(place))
    # An override and no constraint: a tool that asks for more must not hide a floor.
    how = ("--resolution", "lowest-direct", "--override", str(pins))
    _uv("pip", "install", "--python", str(place), *how, "--editable", ".[dev]")
    return [str(place / "bin" / "python")]


def newest() -> list[str]:
    """Make the environment of the newest versions; return the command of its Python."""
    place = BUILD / "compat-newest"
    if _runs(f"python{NEWEST}"):
        _uv("venv", "--clear", "--python", f"python{NEWEST}", str(place))
        how = ("--resolution", "highest", "--upgrade")
        _uv("pip", "install", "--python", str(place), *how, "--editable", ".[dev]")
        return [str(place / "bin" / "python")]
    return _in_debian(BUILD / "compat-newest-debian-13")


def _in_debian(place: Path) -> list[str]:
    """Make the environment inside a Debian 13, of wheels that are fetched outside."""
    if os.geteuid() != 0:
        raise BuildError(
            f"there is no python{NEWEST}, and a Debian 13 needs root",
            f"run as root, or install python{NEWEST}",
        )
    include = f"--include={','.join(PACKAGES)}"
    note = SYSTEM.with_suffix(".packages")
    if not note.exists() or note.read_text("ascii") != include:
        shutil.rmtree(SYSTEM, ignore_errors=True)
        words = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", include, "trixie"]
        must([*words, str(SYSTEM)], "apt-get install mmdebstrap")
        note.write_text(include, "ascii")
    machine = os.uname().machine
    wanted = _uv(
        *("pip", "compile", "pyproject.toml", "--extra", TOOLS, "--quiet", "--no-header"),
        *("--no-annotate", "--python-version", NEWEST, "--python-platform"),
        f"{machine}-manylinux_2_{GLIBC}",
    ).split()
    house = place.with_suffix(".wheels")
    # Wheels of an earlier run may be of other versions.
    shutil.rmtree(house, ignore_errors=True)
    wheels.pip(
        *("download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(house)),
        *Target(NEWEST, machine).tags(),
        *(
            f"--platform=manylinux_2_{minor}_{machine}"
            for minor in range(wheels.GLIBC + 1, GLIBC + 1)
        ),
        *wanted,
    )
    enter = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "sh",
        "-e",
        "-c",
        MOUNTS,
        str(SYSTEM),
        str(ROOT),
    ]
    must([*enter, "/usr/bin/python3", "-m", "venv", "--clear", str(place)])
    python = [*enter, str(place / "bin" / "python")]
    offline = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    must([*python, *offline, *(str(file) for file in sorted(house.glob("*.whl")))])
    must([*python, *offline, "--no-build-isolation", "--editable", "."])
    return python


def _runs(program: str) -> bool:
    """Tell whether a program of that name starts; a shim of another version manager may not."""
    try:
        must([program, "--version"])
    except BuildError:
        return False
    return True


def _uv(*words: str) -> str:
    command = [sys.executable, "-m", "uv", *words, "--no-python-downloads"]
    return must(command, "make compat installs uv", folder=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
