"""The microphone's part: looked at by a process of hear's own, which has no network."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from listener.config import Config
from listener.system.findings import LONGEST_BYTES, Check, Finding, from_json

COMMAND: Final = (sys.executable, "-P", "-m", "listener.hear.probe.process")


def check_microphone(
    settings: Config,
    *,
    prove_mute: bool,
    throw_switch: bool = False,
    command: Sequence[str] = COMMAND,
) -> Iterator[Finding]:
    """Yield what that process finds, as it finds it.

    Args:
        settings: what hear would run with.
        prove_mute: whether to try that the switch cuts the microphone.
        throw_switch: whether to do nothing but wait for a hand to throw the switch.
        command: starts the process.
    """
    words = [*command]
    words += ["--throw-switch"] if throw_switch else ["--prove-mute"] if prove_mute else []
    with subprocess.Popen(  # noqa: S603 - this interpreter on a module that the caller names
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # ALSA explains itself there at length, about devices that nobody asked for.
        stderr=subprocess.DEVNULL,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a pipe that was asked for is not there")
        try:
            process.stdin.write(msgspec.json.encode(settings))
            process.stdin.close()
        except BrokenPipeError:
            pass  # It ended at once, and says below what it said.
        try:
            while line := process.stdout.readline(LONGEST_BYTES + 1):
                yield from_json(line)
        except ValueError:
            process.kill()
    if process.returncode:
        yield Check("microphone").fail(
            "the process that looks at it broke off", "earmark hear --verbose says more"
        )
