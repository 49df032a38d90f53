"""Households of the demo: a speaker, an archive and two owners, each with a folder.

Each step is an `earmark` command in a process of its own.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyrage

from listener.errors import EarmarkError, Unavailable
from listener.storage.atomic import write_atomic

DEVICE: Final = "kitchen"
OWNERS: Final = ("ada", "bo")
KEEPER: Final = OWNERS[0]
VERB_S: Final = 120.0
"""Timeout for one command in seconds; generous for slow machines."""
_END_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Result of a command that ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """Its error message without the prefix, or its exit code."""
        for line in self.err.splitlines():
            if line.startswith("earmark: error: "):
                return line.removeprefix("earmark: error: ")
        return f"exit code {self.code}"


class DemoHouseholds:
    """Folders below ``root``, and the commands run on them. For one thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.speaker = root / "speaker"
        self.archive = root / "archive"

    def identity(self, owner: str) -> Path:
        """Return the path of an owner's secret key."""
        return self.root / owner / f"{owner}.key"

    def settings(self, home: Path) -> Path:
        """Return the configuration of a home."""
        return home / "earmark.toml"

    def prepare(self, port: int) -> None:
        """Make keys, write configurations, and add owners and the device.

        Args:
            port: of the broker.

        Raises:
            EarmarkError: a command failed.
        """
        for owner in OWNERS:
            self._make_identity(owner)
        for home in (self.speaker, self.archive):
            home.mkdir(mode=0o700, parents=True)
            self.settings(home).write_text(
                f"[device]\nname = '{DEVICE}'\n"
                f"[attribution]\nkeeper = '{KEEPER}'\n"
                f"[broker]\nport = {port}\nprotocol = '3.1.1'\n",
                "utf-8",
            )
        # The speaker's roster has its keeper only; the archive's has all owners and the device.
        self._enrol(self.speaker, KEEPER)
        for owner in OWNERS:
            self._enrol(self.archive, owner)
        name, key = self.run_checked(self.speaker, "household", "this-device").out.split()
        self.run_checked(self.archive, "household", "add-device", name, "--key", key)

    def command_line(self, home: Path, verb: str, *rest: str) -> list[str]:
        """Return the command line of a command on a home."""
        config = str(self.settings(home))
        own = ["--config", config, "--home", str(home)]
        return [sys.executable, "-m", "listener", verb, *own, *rest]

    def run(self, home: Path, verb: str, *rest: str) -> CommandResult:
        """Run a command to its end.

        Raises:
            Unavailable: the command does not end in time.
        """
        try:
            done = subprocess.run(  # noqa: S603 - a list, never a shell: this program on a home of the demo's
                self.command_line(home, verb, *rest),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=VERB_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"earmark {verb} did not end within {VERB_S:.0f} s") from error
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def run_checked(self, home: Path, verb: str, *rest: str) -> CommandResult:
        """Run a command that has to succeed.

        Raises:
            EarmarkError: its exit code is not 0.
        """
        done = self.run(home, verb, *rest)
        if done.code != 0:
            raise EarmarkError(f"earmark {verb} {rest[0] if rest else ''}: {done.complaint}")
        return done

    @contextlib.contextmanager
    def running(self, home: Path, verb: str, *rest: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a command while the block runs; its output goes to ``<verb>.log`` below ``root``.

        Raises:
            EarmarkError: the command ended before the block did, or failed.
        """
        log = self.root / f"{verb}.log"
        with log.open("wb") as out:
            child = subprocess.Popen(  # noqa: S603 - a list, never a shell: this program on a home of the demo's
                self.command_line(home, verb, *rest),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield child
            ended = child.poll()
        finally:
            end_child(child)
        if ended is not None or child.returncode not in {0, -signal.SIGTERM}:
            lines = log.read_text("utf-8", "replace").strip().splitlines() or ["no message"]
            raise EarmarkError(
                f"earmark {verb} ended early with exit code {child.returncode}: {lines[0]}"
            )

    def _enrol(self, home: Path, owner: str) -> None:
        identity = pyrage.x25519.Identity.from_str(self.identity(owner).read_text("ascii").strip())
        self.run_checked(home, "owner", "add", owner, "--key", str(identity.to_public()))
        challenge = self.run_checked(home, "owner", "challenge", owner).out
        # On the owner's computer, which has the key; the age command does the same.
        answer = pyrage.decrypt(challenge.encode("ascii"), [identity]).decode("ascii").strip()
        self.run_checked(home, "owner", "confirm", owner, answer)

    def _make_identity(self, owner: str) -> None:
        path = self.identity(owner)
        path.parent.mkdir(mode=0o700, parents=True)
        write_atomic(path, f"{pyrage.x25519.Identity.generate()}\n".encode("ascii"))


def end_child(child: "subprocess.Popen[bytes]") -> None:
    """End a child process with SIGTERM, and after a timeout with SIGKILL."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
