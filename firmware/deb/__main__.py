"""``make deb``: build a Debian package for each architecture, reproducibly.

The package contains units, rules, overlays, and the wheels for both Python versions. Its postinst
creates an environment from them offline; nothing is downloaded on the speaker.
"""

import argparse
import email.utils
import gzip
import hashlib
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from firmware import wheels
from firmware.dates import source_date_s
from firmware.deb import contents
from firmware.programs import BuildError, must, run
from firmware.wheels import ARCHITECTURES, PYTHONS, ROOT, Pin, Target

CACHE: Final = ROOT / "build" / "wheels"
SCRIPTS: Final = ("postinst", "prerm", "postrm")
SOURCES: Final = ("listener", "models", "pyproject.toml", "setup.py", "README.md", "LICENSE")
"""Sources of Earmark's own wheel."""
CHANGES: Final = """earmark ({version}) unstable; urgency=medium

  * See CHANGELOG.md.gz.

 -- the authors of Earmark <earmark@localhost>  {when}
"""


def main(words: Sequence[str] | None = None) -> int:
    """Build the packages, and print their paths."""
    parser = argparse.ArgumentParser(prog="python -m firmware.deb", description=__doc__)
    parser.add_argument("architectures", nargs="*", metavar="ARCH", help="arm64, amd64 (both)")
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="folder (default: dist)")
    parser.add_argument(
        "--offline",
        type=Path,
        metavar="WHEELHOUSE",
        help="use the wheels of this folder, download none",
    )
    arguments = parser.parse_args(words)
    names = arguments.architectures or list(ARCHITECTURES)
    if unknown := set(names) - set(ARCHITECTURES):
        parser.error(f"no wheels are locked for architecture {', '.join(sorted(unknown))}")
    try:
        for deb in build(names, arguments.into, arguments.offline):
            print(deb)
    except BuildError as error:
        print(f"earmark: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"earmark: hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def build(architectures: Iterable[str], into: Path, offline: Path | None = None) -> Iterable[Path]:
    """Build a package for each of ``architectures`` (Debian's names); yield their paths.

    Args:
        architectures: keys of ``ARCHITECTURES``.
        into: output folder; created.
        offline: folder with every wheel of the locks, including ``tools.txt``.

    Raises:
        BuildError: an input is missing, or a step fails.
    """
    into.mkdir(parents=True, exist_ok=True)
    date_s = source_date_s()
    with tempfile.TemporaryDirectory() as folder:
        tools = wheels.fetch(wheels.read(wheels.TOOLS), (), CACHE / "tools", offline)
        own = own_wheel(Path(folder) / "own", tools, date_s)
        ours = Pin("earmark", version(), wheels.sha256(own))
        for architecture in architectures:
            carried = {own, *(tool for tool in tools if tool.name.startswith("pip-"))}
            locks = {}
            for target in (Target(python, ARCHITECTURES[architecture]) for python in PYTHONS):
                pins = wheels.read(target.lock)
                cache = CACHE / target.lock.stem
                carried.update(wheels.fetch(pins, target.tags(), cache, offline))
                locks[target.lock.name] = sorted((*pins, ours))
            tree = Path(folder) / architecture
            fill(tree, carried, locks)
            yield pack(tree, architecture, into, date_s)


def version() -> str:
    """Return the version in pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def own_wheel(folder: Path, tools: Iterable[Path], date_s: int) -> Path:
    """Build Earmark's wheel from a clean copy, with the locked tools; return its path."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in SOURCES:
        _copy(ROOT / name, source / name)
    # A wheel records the modes of its files.
    for path in source.rglob("*"):
        path.chmod(contents.EXECUTABLE if path.is_dir() else contents.READABLE)
    # setuptools runs from its unpacked wheel: the build needs no environment of its own.
    for tool in tools:
        shutil.unpack_archive(tool, folder / "tools", "zip")
    environment = {"SOURCE_DATE_EPOCH": str(date_s), "PYTHONPATH": str(folder / "tools")}
    build = "import os, sys, setuptools.build_meta as b; os.umask(18); b.build_wheel(sys.argv[1])"
    words = [sys.executable, "-S", "-c", build, str(folder)]
    process = run(words, folder=source, environ=environment)
    built = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or len(built) != 1:
        raise BuildError(f"cannot build the wheel of Earmark:\n{process.stderr[-2000:]}")
    return built[0]


def fill(tree: Path, carried: Iterable[Path], locks: Mapping[str, Iterable[Pin]]) -> None:
    """Write the files of the package.

    Args:
        tree: root of the package; created.
        carried: its wheels.
        locks: names of its lock files, and their pins.

    Raises:
        BuildError: a file of systemd/ has no place, or an overlay does not compile.
    """
    contents.place(ROOT, tree)
    home = tree / "usr/lib/earmark"
    for wheel in sorted(carried):
        contents.copy(wheel, home / "wheels" / wheel.name)
    (home / "lock").mkdir()
    for name, pins in locks.items():
        (home / "lock" / name).write_text("".join(f"{pin}\n" for pin in pins), "ascii")
    contents.copy(ROOT / "firmware" / "deb" / "earmark.toml", home / "earmark.toml")
    (home / "version").write_text(version() + "\n", "ascii")
    documents = tree / "usr/share/doc/earmark"
    example = ROOT / "docs" / "reference" / "earmark.example.toml"
    contents.copy(example, documents / example.name)
    contents.place_documents(ROOT, tree)
    contents.copy(ROOT / "firmware" / "install.sh", home / "install.sh", contents.EXECUTABLE)
    contents.copy(ROOT / "firmware" / "deb" / "copyright", documents / "copyright")
    changes = gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), mtime=0)
    (documents / "CHANGELOG.md.gz").write_bytes(changes)
    program = tree / "usr/bin/earmark"
    program.parent.mkdir(parents=True)
    program.symlink_to("/opt/earmark/current/bin/earmark")


def pack(tree: Path, architecture: str, into: Path, date_s: int) -> Path:
    """Write the control files into ``tree``, and build the package; return its path.

    Args:
        tree: root of the package, as ``fill`` writes it.
        architecture: Debian's name.
        into: output folder.
        date_s: timestamp of every file in the package, in seconds since 1970.

    Raises:
        BuildError: dpkg-deb is not installed, or fails.
    """
    when = email.utils.formatdate(date_s)
    changes = CHANGES.format(version=version(), when=when).encode()
    (tree / "usr/share/doc/earmark/changelog.gz").write_bytes(gzip.compress(changes, mtime=0))
    contents.place_manual(ROOT, tree, version(), date_s)
    installed_kib = sum(file.lstat().st_size for file in tree.rglob("*")) // 1024
    control = tree / "DEBIAN"
    control.mkdir()
    folder = ROOT / "firmware" / "deb"
    fields = {"version": version(), "architecture": architecture, "installed_kib": installed_kib}
    text = (folder / "control.in").read_text("utf-8")
    (control / "control").write_text(
        re.sub(r"@(\w+)@", lambda match: str(fields[match[1]]), text), "utf-8"
    )
    for script in SCRIPTS:
        contents.copy(folder / script, control / script, contents.EXECUTABLE)
    sums = [
        f"{_md5(file)}  {file.relative_to(tree)}\n"
        for file in sorted(tree.rglob("*"))
        if file.is_file() and not file.is_symlink() and control not in file.parents
    ]
    (control / "md5sums").write_text("".join(sums), "utf-8")
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(contents.EXECUTABLE if executable else contents.READABLE)
        os.utime(path, (date_s, date_s), follow_symlinks=False)
    deb = into / f"earmark_{version()}_{architecture}.deb"
    # Wheels are compressed already: a higher level makes the package no smaller.
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(deb)]
    must(command, "run apt-get install dpkg", environ={"SOURCE_DATE_EPOCH": str(date_s)})
    return deb


def _copy(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, to)


def _md5(file: Path) -> str:
    """Return the MD5 that dpkg compares installed files with; it detects accidents, not attacks."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
