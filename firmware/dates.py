"""The timestamp of build products: the same commit gives the same bytes."""

import contextlib
import os
from pathlib import Path
from typing import Final

from firmware.programs import BuildError, must
from firmware.wheels import ROOT

LEAST_DATE_S: Final = 315_619_200
"""1980-01-01, the earliest timestamp of a ZIP file and so of a wheel; seconds since 1970."""


def source_date_s(*paths: Path, root: Path = ROOT) -> int:
    """Return SOURCE_DATE_EPOCH, or the time of the last commit to the paths, in seconds since 1970.

    Args:
        paths: files of the repository; none means the whole repository.
        root: of the repository. Without git, the modification time of its pyproject.toml is used.

    Raises:
        BuildError: SOURCE_DATE_EPOCH is not a number.
    """
    date = os.environ.get("SOURCE_DATE_EPOCH")
    if date is None:
        command = ["git", "-C", str(root), "log", "-1", "--format=%ct", "--", *map(str, paths)]
        with contextlib.suppress(BuildError):
            date = must(command).strip()
        date = date or str(int((root / "pyproject.toml").stat().st_mtime))
    try:
        return max(int(date), LEAST_DATE_S)
    except ValueError as error:
        raise BuildError(f"SOURCE_DATE_EPOCH is not a number: {date!r}") from error
