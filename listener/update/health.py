"""Health of a version: restart of its services, hear's counters, and scores of a recording."""

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import IO, Final, Protocol

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import EarmarkError, Unavailable
from listener.system.systemctl import run_systemctl

SERVICES: Final = (
    "earmark-hear.service",
    "earmark-send.service",
    "earmark-archive.service",
    # Patterns, which may match nothing: an update installs no unit, so one that came after the
    # first package of a machine can be missing.
    "earmark-pla[y].service",
    "earmark-assis[t].service",
    "earmark-archive@*.service",
)
SCORED_SAMPLES: Final = SAMPLE_RATE_HZ
"""Samples that hear has to count after its start for its version to be healthy: one second."""
RESTART_S: Final = 150.0
_SLACK_S: Final = 2.0
_RECORDING_S: Final = 120.0
_MUTED: Final = ("hardware", "software")


class Health(Enum):
    """State of hear; the value is a text for people."""

    SCORING = "it scores audio"
    MUTED = "it runs, and is muted"
    SILENT = "it does not score audio"


class Services(Protocol):
    """Services of the program."""

    def restart(self) -> None:
        """Restart the running services with the version that ``current`` points to.

        Raises:
            EarmarkError: a service did not start.
        """


class Systemd:
    """Services run by systemd."""

    def restart(self) -> None:
        """Restart the running services.

        Raises:
            EarmarkError: a service did not start.
            Unavailable: there is no systemctl.
        """
        try:
            run_systemctl("try-restart", *SERVICES, timeout_s=RESTART_S)
        except FileNotFoundError as error:
            raise Unavailable(
                "there is no systemctl here", "run updates on a machine with systemd"
            ) from error
        except subprocess.SubprocessError as error:
            raise EarmarkError(
                "the services did not restart", "see journalctl -u earmark-hear"
            ) from error


class _Counters(msgspec.Struct, frozen=True):
    heard_samples: int = 0


class _MonitorLine(msgspec.Struct, frozen=True):
    """Fields of ``earmark monitor --json`` that are the same in every version."""

    hearing: bool = False
    mute: str = "open"
    counters: _Counters | None = None


def watch_health(program: Path, options: Sequence[str], longest_s: float) -> Health:
    """Watch hear until it scores audio, or is muted, or the timeout.

    Args:
        program: the program `earmark` of the running version.
        options: for it, such as ``--home``.
        longest_s: timeout in seconds.

    Raises:
        EarmarkError: the program does not run.
    """
    first: int | None = None
    for text in _lines([str(program), "monitor", "--json", *options], longest_s):
        try:
            line = msgspec.json.decode(text, type=_MonitorLine)
        except (ValueError, RecursionError):
            continue
        if not line.hearing:
            continue
        if line.mute in _MUTED:
            return Health.MUTED
        if line.counters is None:
            continue
        heard = line.counters.heard_samples
        if first is None or heard < first:
            first = heard
        elif heard - first >= SCORED_SAMPLES:
            return Health.SCORING
    return Health.SILENT


def score_recording(program: Path, recording: Path, options: Sequence[str]) -> None:
    """Check that a version can score a recording.

    Args:
        program: the program `earmark` of the version.
        recording: audio file.
        options: for the program.

    Raises:
        EarmarkError: it cannot.
    """
    try:
        done = subprocess.run(  # noqa: S603 - of a release that was signed
            [str(program), "score", "--json", *options, str(recording)],
            check=True,
            timeout=_RECORDING_S,
            capture_output=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EarmarkError("the new version cannot score a recording") from error
    if b'"scores"' not in done.stdout:
        raise EarmarkError("the new version printed no scores for a recording")


def version_of(program: Path) -> str:
    """Return the version that a program reports.

    Raises:
        EarmarkError: the program does not run.
    """
    try:
        done = subprocess.run(  # noqa: S603 - of a release that was signed
            [str(program), "--version"], check=True, timeout=_RECORDING_S, capture_output=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EarmarkError("the new version does not run here") from error
    return done.stdout.decode("utf-8", "replace").strip().removeprefix("earmark ")


def _lines(command: Sequence[str], longest_s: float) -> Iterator[bytes]:
    """Yield the lines that a program prints until a timeout, restarting it when it ends."""
    until_s = time.monotonic() + longest_s
    while time.monotonic() < until_s:
        with _running(command) as out, selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            rest = b""
            while (left_s := until_s - time.monotonic()) > 0 and selector.select(left_s):
                piece = os.read(out.fileno(), 1 << 16)
                if not piece:
                    break
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        time.sleep(max(0.0, min(0.2, until_s - time.monotonic())))


@contextlib.contextmanager
def _running(command: Sequence[str]) -> Iterator[IO[bytes]]:
    try:
        process = subprocess.Popen(  # noqa: S603 - a version's own command line
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise EarmarkError("the new version does not run here") from error
    try:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        yield process.stdout
    finally:
        process.terminate()
        try:
            process.wait(_SLACK_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
