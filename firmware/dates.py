"""The time that what is built here bears: the same commit gives the same bytes."""

import contextlib
import os
from pathlib import Path
from typing import Final

from firmware.programs import BuildError, must
from firmware.wheels import ROOT

LEAST_DATE_S: Final = 315_619_200
"""1980: what a ZIP file, and so a wheel, can say at the least."""


def source_date_s(*paths: Path, root: Path = ROOT) -> int:
    """Return SOURCE_DATE_EPOCH, or when these paths were committed last, in seconds since 1970.

    Args:
        paths: in the repository; none of them means all of it.
        root: of the repository; a tarball without git has the time of its pyproject.toml.

    Raises:
        BuildError: SOURCE_DATE_EPOCH is no number.
    """
    asked = os.environ.get("SOURCE_DATE_EPOCH")
    if asked is None:
        command = ["git", "-C", str(root), "log", "-1", "--format=%ct", "--", *map(str, paths)]
        with contextlib.suppress(BuildError):
            asked = must(command).strip()
        asked = asked or str(int((root / "pyproject.toml").stat().st_mtime))
    try:
        return max(int(asked), LEAST_DATE_S)
    except ValueError as error:
        raise BuildError(f"SOURCE_DATE_EPOCH is no number: {asked!r}") from error
