"""A package of ours with one small wheel, so that no test waits for a network or for 100 MB."""

import zipfile
from pathlib import Path

from firmware import wheels
from firmware.deb import __main__ as deb
from firmware.wheels import Pin

DATE_S = 1_700_000_000
FILES = {
    "nothing.py": "",
    "nothing-1.0.dist-info/METADATA": "Name: nothing\nVersion: 1.0\n",
    "nothing-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
    "nothing-1.0.dist-info/RECORD": "",
}


def small_wheel(folder: Path) -> Path:
    """Make a wheel that installs, and holds nothing; the same bytes each time."""
    wheel = folder / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in FILES.items():
            file.writestr(zipfile.ZipInfo(name), text)
    return wheel


def small_package(folder: Path, architecture: str = "amd64") -> Path:
    """Build the package, with what the sources hold and with a small wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = small_wheel(folder)
    pin = Pin("nothing", "1.0", wheels.sha256(wheel))
    tree = folder / "tree"
    deb.fill(tree, [wheel], {"3.13-x86_64.txt": [pin]})
    return deb.pack(tree, architecture, folder, DATE_S)
