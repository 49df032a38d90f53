"""Run programs for a build, and the error that every builder raises.

Standard library only, like ``firmware/wheels.py``.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class BuildError(Exception):
    """A build failure that the user can fix.

    Attributes:
        hint: one imperative, or empty.
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
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; the caller checks the exit code.

    Args:
        command: the program and its arguments.
        hint: how to install the program.
        folder: working directory; that of this process by default.
        environ: variables added to the environment of this process.
        stdin: text for its standard input.

    Returns:
        Its exit code, stdout and stderr.

    Raises:
        BuildError: the program is not installed.
    """
    try:
        return subprocess.run(  # noqa: S603 - a list, never a shell; arguments are literals of the builders or paths below their folders
            command,
            check=False,
            cwd=folder,
            env=os.environ | (environ or {}),
            input=stdin,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed", hint) from error


def must(
    command: Sequence[str],
    hint: str = "",
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program that must exit with 0, with the arguments of `run`; return its stdout.

    Raises:
        BuildError: the program is not installed, or failed; the message has the end of its stderr.
    """
    process = run(command, hint, folder=folder, environ=environ, stdin=stdin)
    if process.returncode != 0:
        raise BuildError(f"{command[0]} failed:\n{process.stderr[-2000:]}", hint)
    return process.stdout
