"""The places of files in the package, by rules: a new unit or udev rule needs no entry here."""

import gzip
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from firmware.programs import BuildError, must

UNITS: Final = (".service", ".socket", ".target", ".timer", ".path", ".mount", ".slice")
FOLDERS: Final = {
    "sysusers.d": "usr/lib/sysusers.d",
    "tmpfiles.d": "usr/lib/tmpfiles.d",
    "sysctl.d": "usr/lib/sysctl.d",
    "system-preset": "usr/lib/systemd/system-preset",
    "udev": "usr/lib/udev/rules.d",
    "coredump.conf.d": "usr/lib/systemd/coredump.conf.d",
    # Optional files, which the administrator or install.sh copies to their place.
    "drop-ins": "usr/lib/earmark/drop-ins",
    "journald.conf.d": "usr/lib/earmark/journald.conf.d",
}
"""Folders of systemd/, and their places in the package."""
TEMPLATE: Final = ".in"
ALSA: Final = "usr/share/alsa/alsa.conf.d"
COMPLETIONS: Final = {
    "earmark.bash": "usr/share/bash-completion/completions/earmark",
    "_earmark": "usr/share/zsh/vendor-completions/_earmark",
    "earmark.fish": "usr/share/fish/vendor_completions.d/earmark.fish",
}
"""Place of each shell completion of firmware/manual/."""
DOCUMENTS: Final = ("guides", "tutorials", "reference", "explanation")
"""Folders of docs/ that messages and commands refer to."""
DOCUMENT_SUFFIXES: Final = (".md", ".svg", ".yaml", ".json")
SAMPLES: Final = {
    "docs/reference/earmark.example.toml": "earmark.example.toml",
    "docs/reference/home.example.toml": "home.example.toml",
    "firmware/first-boot/earmark.toml": "first-boot.toml",
    "firmware/cloud-init/user-data": "user-data",
}
"""Sample files, and their names in the package."""
SKIPPED: Final = (".md", ".py", ".pyc")
EXECUTABLE: Final = 0o755
READABLE: Final = 0o644


def place(source: Path, tree: Path) -> None:
    """Copy the files of systemd/ and firmware/ for a speaker to their places in ``tree``.

    Args:
        source: root of the project.
        tree: root of the package.

    Raises:
        BuildError: no rule matches a file.
    """
    for file, where in (*_systemd(source / "systemd"), *_alsa(source / "firmware" / "alsa")):
        copy(file, tree / where)
    # ALSA reads /etc/alsa/conf.d; packages link their files from there.
    for conf in sorted((tree / ALSA).glob("*.conf")):
        link = tree / "etc/alsa/conf.d" / conf.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/{ALSA}/{conf.name}")
    for program in sorted((source / "firmware" / "deb" / "lib").iterdir()):
        copy(program, tree / "usr/lib/earmark" / program.name, EXECUTABLE)
    for overlay in sorted((source / "firmware" / "mute").glob("*.dts")):
        _compile(overlay, tree / "usr/lib/earmark/overlays" / f"{overlay.stem}.dtbo")


def place_documents(source: Path, tree: Path) -> None:
    """Copy the documentation for users, and the sample files it names, to the package's folder.

    Args:
        source: root of the project.
        tree: root of the package.
    """
    documents = tree / "usr/share/doc/earmark"
    for folder in DOCUMENTS:
        for file in sorted((source / "docs" / folder).rglob("*")):
            if file.suffix in DOCUMENT_SUFFIXES:
                copy(file, documents / "docs" / file.relative_to(source / "docs"))
    for sample, name in SAMPLES.items():
        copy(source / sample, documents / "examples" / name)


def place_manual(source: Path, tree: Path, version: str, date_s: int) -> None:
    """Copy man pages and shell completions to their places in ``tree``.

    Args:
        source: the project's root.
        tree: the package's root.
        version: for the footer of the man pages.
        date_s: for the same, in seconds since 1970.

    Raises:
        BuildError: there is a file that no rule has a place for.
    """
    date = datetime.fromtimestamp(date_s, UTC).date().isoformat()
    for file in _files(source / "firmware" / "manual"):
        if file.suffix == ".1":
            page = file.read_text("ascii").replace("@DATE@", date).replace("@VERSION@", version)
            to = tree / "usr/share/man/man1" / f"{file.name}.gz"
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(gzip.compress(page.encode("ascii"), mtime=0))
        elif file.name in COMPLETIONS:
            copy(file, tree / COMPLETIONS[file.name])
        else:
            raise BuildError(
                f"firmware/manual/{file.name} has no place in the package",
                "add one to firmware/deb/contents.py",
            )


def copy(file: Path, to: Path, mode: int = READABLE) -> None:
    """Copy the content of a file, without its mode and times."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, to)
    to.chmod(mode)


def _systemd(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in _files(folder):
        inside = file.relative_to(folder)
        top = inside.parts[0]
        if file.suffix == TEMPLATE:
            yield file, f"usr/lib/earmark/{file.name}"
        elif Path(top).suffix in UNITS or top.endswith(".service.d"):
            yield file, f"usr/lib/systemd/system/{inside}"
        elif top in FOLDERS:
            yield file, f"{FOLDERS[top]}/{inside.relative_to(top)}"
        else:
            raise BuildError(
                f"systemd/{inside} has no place in the package",
                "add a rule to firmware/deb/contents.py",
            )


def _alsa(folder: Path) -> Iterator[tuple[Path, str]]:
    for file in _files(folder):
        where = ALSA if file.suffix == ".conf" else "usr/share/earmark/alsa"
        yield file, f"{where}/{file.relative_to(folder)}"


def _files(folder: Path) -> Iterator[Path]:
    return (
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix not in SKIPPED and "__pycache__" not in file.parts
    )


def _compile(overlay: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    # dtc mistakes the parameter gpio, which rewrites cells, for a broken GPIO reference.
    command = ["dtc", "-@", "-q", "-W", "no-gpios_property", "-I", "dts", "-O", "dtb", "-o"]
    must([*command, str(to), str(overlay)], "run apt-get install device-tree-compiler")
    to.chmod(READABLE)
