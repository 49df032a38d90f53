"""Other programs that a build runs, and the one error of everything that builds.

Standard library only, as ``firmware/wheels.py``.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class BuildError(Exception):
    """Something that whoever builds can mend.

    Attributes:
        hint: how.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def run(
    command: Sequence[str],
    hint: str = "",
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    given: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; how it ended is for the caller to judge.

    Args:
        command: the program and its words.
        hint: how to come by the program.
        folder: where it runs; ours by default.
        environ: besides our own environment.
        given: what it reads.

    Returns:
        Its exit code, and all that it printed.

    Raises:
        BuildError: there is no such program.
    """
    try:
        return subprocess.run(  # noqa: S603 - a list, never a shell; each word is spelt in the module that builds, or a path below its folders
            command,
            check=False,
            cwd=folder,
            env=os.environ | (environ or {}),
            input=given,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not here", hint) from error


def must(
    command: Sequence[str],
    hint: str = "",
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    given: str | None = None,
) -> str:
    """Run a program that must end well, as `run`; return what it printed.

    Raises:
        BuildError: there is no such program, or it failed; the message has the end of what it said.
    """
    done = run(command, hint, folder=folder, environ=environ, given=given)
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed:\n{done.stderr[-2000:]}", hint)
    return done.stdout
