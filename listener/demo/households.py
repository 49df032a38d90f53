"""Household of the demo: two speakers, an archive, assist and two owners, each with a folder.

Each step is an `earmark` command in a process of its own.
"""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyrage
import tomli_w

from listener.errors import EarmarkError, Unavailable
from listener.storage.atomic import write_atomic

DEVICE: Final = "kitchen"
OTHER_DEVICE: Final = "bedroom"
SHARED_DEVICE: Final = "hall"
OWNERS: Final = ("ada", "bo")
KEEPER: Final = OWNERS[0]
OTHER_KEEPER: Final = OWNERS[1]
WORD: Final = "hey-lumen"
"""Wake word of the scenes: Earmark's own, Apache-2.0; the default of the configuration is not."""
LAMP_TOPIC: Final = "demo/kitchen-light/set"
LAMP_ON: Final = "ON"
VERB_S: Final = 120.0
"""Timeout for one command in seconds; generous for slow machines."""
_END_S: Final = 20.0
_TURN_S: Final = 0.05


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
        self.other_speaker = root / "bedroom"
        self.shared_speaker = root / "hall"
        self.archive = root / "archive"
        self.assist = root / "assist"
        self._running: dict[subprocess.Popen[bytes], tuple[str, Path]] = {}

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
        self._write_settings(self.archive, port, DEVICE, KEEPER)
        # The speaker's roster has its keeper only; the archive's has all owners and the devices.
        for owner in OWNERS:
            self._confirm(self.archive, owner)
        self._add_speaker(self.speaker, port, DEVICE, KEEPER)

    def prepare_command(self, port: int, model: Path) -> str:
        """Add the other owner's speaker, assist and the file of the home's things.

        Args:
            port: of the broker, which is that of the lamp too.
            model: folder of the speech model.

        Returns:
            The public key of assist.

        Raises:
            EarmarkError: a command failed.
        """
        self._add_speaker(self.other_speaker, port, OTHER_DEVICE, OTHER_KEEPER)
        things = self.root / "home.toml"
        broker = {"port": port, "protocol": "3.1.1"}
        things.write_text(tomli_w.dumps(_home(broker)), "utf-8")
        self._write_settings(
            self.assist,
            port,
            DEVICE,
            KEEPER,
            assist={
                "recogniser": "built-in",
                "agent": "built-in",
                "voice": "none",
                "home_file": str(things),
                "roster_folder": str(self.archive),
            },
        )
        (self.assist / "assist").mkdir(mode=0o700)
        (self.assist / "assist" / "speech-model").symlink_to(model.absolute())
        key: str = json.loads(self.run_checked(self.assist, "assist", "key", "--json").out)["key"]
        return key

    def prepare_voices(self, port: int, recordings: Mapping[str, Path]) -> None:
        """Add the speaker that both owners share, and enrol their voices.

        Args:
            port: of the broker.
            recordings: speech of each owner.

        Raises:
            EarmarkError: a command failed.
        """
        home = self.shared_speaker
        self._add_speaker(home, port, SHARED_DEVICE, KEEPER, mode="voice")
        self._confirm(home, OTHER_KEEPER)
        for owner, recording in recordings.items():
            files = ["--consent", "--files", str(recording)]
            self.run_checked(home, "owner", "enrol", owner, *files)

    def _add_speaker(
        self, home: Path, port: int, device: str, keeper: str, mode: str = "keeper"
    ) -> None:
        self._write_settings(home, port, device, keeper, mode)
        self._confirm(home, keeper)
        name, key = self.run_checked(home, "household", "this-device").out.split()
        self.run_checked(self.archive, "household", "add-device", name, "--key", key)

    def _write_settings(
        self,
        home: Path,
        port: int,
        device: str,
        keeper: str,
        mode: str = "keeper",
        **sections: dict[str, str],
    ) -> None:
        home.mkdir(mode=0o700, parents=True)
        settings = {
            "device": {"name": device},
            "attribution": {"keeper": keeper, "mode": mode},
            "wake": {"words": [WORD]},
            "broker": {"port": port, "protocol": "3.1.1"},
        }
        self.settings(home).write_text(tomli_w.dumps(settings | sections), "utf-8")

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

    def log(self, home: Path, verb: str) -> Path:
        """Return the log file of a command on a home."""
        return self.root / f"{home.name}-{verb}.log"

    def wait_until(self, is_true: Callable[[], object], what: str, longest_s: float) -> None:
        """Wait for a state of the processes.

        Args:
            is_true: returns whether it is reached.
            what: the state, for the error.
            longest_s: timeout in seconds.

        Raises:
            Unavailable: it is not reached in time.
            EarmarkError: a running command has ended meanwhile.
        """
        until_s = time.monotonic() + longest_s
        while not is_true():
            for child, (verb, log) in self._running.items():
                if child.poll() is not None:
                    raise _ended_early(child, verb, log)
            if time.monotonic() > until_s:
                raise Unavailable(
                    f"the demo waited in vain until {what}",
                    "run earmark demo --keep DIR to keep the files and logs",
                )
            time.sleep(_TURN_S)

    @contextlib.contextmanager
    def running(self, home: Path, verb: str, *rest: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a command while the block runs; its output goes to a log file.

        Raises:
            EarmarkError: the command ended before the block did, or failed.
        """
        log = self.log(home, verb)
        with log.open("ab") as out:
            child = subprocess.Popen(  # noqa: S603 - a list, never a shell: this program on a home of the demo's
                self.command_line(home, verb, *rest),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self._running[child] = (verb, log)
        try:
            yield child
            ended = child.poll()
        finally:
            del self._running[child]
            end_child(child)
        if ended is not None or child.returncode not in {0, -signal.SIGTERM}:
            raise _ended_early(child, verb, log)

    def _confirm(self, home: Path, owner: str) -> None:
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


def _home(broker: dict[str, Any]) -> dict[str, Any]:
    """Return a home file: the lamp of the demo, and other things that it must not confuse with."""
    rooms = [
        {"name": "kitchen", "speakers": [DEVICE]},
        {"name": "bedroom", "speakers": [OTHER_DEVICE]},
    ]
    things = [
        ("light", "kitchen light", "kitchen", LAMP_TOPIC),
        ("light", "bedroom light", "bedroom", "demo/bedroom-light/set"),
        ("switch", "coffee maker", "kitchen", "demo/coffee/set"),
        ("switch", "ceiling fan", "bedroom", "demo/fan/set"),
    ]
    names = ("kind", "name", "area", "topic")
    return {
        "broker": broker,
        "areas": rooms,
        "things": [
            dict(zip(names, thing, strict=True)) | {"on": LAMP_ON, "off": "OFF"} for thing in things
        ],
    }


def _ended_early(child: "subprocess.Popen[bytes]", verb: str, log: Path) -> EarmarkError:
    lines = log.read_text("utf-8", "replace").strip().splitlines() or ["no message"]
    return EarmarkError(f"earmark {verb} ended early with exit code {child.returncode}: {lines[0]}")


def end_child(child: "subprocess.Popen[bytes]") -> None:
    """End a child process with SIGTERM, and after a timeout with SIGKILL."""
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
