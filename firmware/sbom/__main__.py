"""``python -m firmware.sbom``: write the bill of materials of a package beside it.

It reads the wheels and lock files that the package contains, so that it describes the package
itself and not the checkout.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cyclonedx.model.component import Component, ComponentType

from firmware import wheels
from firmware.dates import source_date_s
from firmware.programs import BuildError, must
from firmware.sbom import components, document

HOME: Final = "usr/lib/earmark"
"""Folder of wheels and lock files in the Debian package."""


def main(words: Sequence[str] | None = None) -> int:
    """Write ``PACKAGE.sbom.json`` for each package, and print the paths."""
    parser = argparse.ArgumentParser(prog="python -m firmware.sbom", description=__doc__)
    parser.add_argument("packages", nargs="+", type=Path, metavar="PACKAGE", help="a .deb file")
    parser.add_argument(
        "--contents",
        type=Path,
        metavar="FOLDER",
        help="wheels and lock files of the package, for a file that is not a .deb",
    )
    arguments = parser.parse_args(words)
    try:
        for package in arguments.packages:
            print(write(package, arguments.contents))
    except BuildError as error:
        print(f"earmark: error: {error}", file=sys.stderr)
        if error.hint:
            print(f"earmark: hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def write(package: Path, contents: Path | None = None) -> Path:
    """Write the bill of materials of a package beside it; return its path.

    Args:
        package: a Debian package, or any file whose contents are given.
        contents: a folder with ``wheels/``, ``lock/`` and ``version``, as the Debian package has.

    Raises:
        BuildError: the package does not contain what its lock files list, or cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        if contents is None:
            must(["dpkg-deb", "--extract", str(package), folder], "run apt-get install dpkg")
            contents = Path(folder) / HOME
        listed = list(read(contents))
        version = (contents / "version").read_text("ascii").strip()
        about = components.subject(ComponentType.APPLICATION, package.name, version, package)
        bill = package.with_name(f"{package.name}.sbom.json")
        bill.write_text(document.render(about, listed, source_date_s()), "utf-8")
    return bill


def read(contents: Path) -> list[Component]:
    """Return every wheel of a package, and the models that Earmark's own wheel describes.

    Args:
        contents: a folder with ``wheels/`` and ``lock/``.

    Raises:
        BuildError: a wheel that a lock file lists is absent, or the folder has no wheel of Earmark.
    """
    carried = sorted((contents / "wheels").glob("*.whl"))
    digests = {wheels.sha256(file) for file in carried}
    for lock in sorted((contents / "lock").glob("*.txt")):
        for pin in wheels.read(lock):
            if pin.sha256 not in digests:
                raise BuildError(
                    f"the package lacks {pin.name} {pin.version}, which {lock.name} lists"
                )
    own = [file for file in carried if file.name.startswith("earmark-")]
    if len(own) != 1:
        raise BuildError(
            f"{contents} has {len(own)} wheels of Earmark", "build the package with make deb"
        )
    return [*map(components.wheel, carried), *components.models(own[0])]


if __name__ == "__main__":
    sys.exit(main())
