"""shellcheck of every shell script; most of them run as root on a user's computer."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from firmware.wheels import ROOT

FOLDERS: Final = (".ci", "firmware", "tests")
SHELLS: Final = (b"#!/bin/sh", b"#!/bin/busybox sh")


def scripts() -> list[Path]:
    files = [path for name in FOLDERS for path in (ROOT / name).rglob("*")]
    return [
        path
        for path in sorted(files)
        if path.is_file() and not path.is_symlink() and _first_line(path) in SHELLS
    ]


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(80).rstrip()


def test_every_folder_with_scripts_is_checked() -> None:
    found = {str(path.relative_to(ROOT)) for path in scripts()}

    assert {
        ".ci/run",
        "firmware/install.sh",
        "firmware/deb/postinst",
        "firmware/image/init",
        "firmware/vm/set-up",
        "tests/vm/guest/cut",
    } <= found


@pytest.mark.system
def test_every_script_passes_shellcheck() -> None:
    # Busybox' shell is of dash's kind, and shellcheck has no name for it.
    words = ["shellcheck", "--shell=dash", *map(str, scripts())]

    done = subprocess.run(words, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout
