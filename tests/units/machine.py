"""A Debian 13 with the package installed, whose systemd runs in namespaces of its own: no VM.

What it enforces is the kernel's work as on a speaker: seccomp, namespaces, the devices' filter,
addresses, credentials. What it has not: sound cards, a kernel of its own, limits of memory.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = ROOT / "build"
SUITE: Final = "trixie"
PACKAGES: Final = ("systemd", "udev", "python3", "libportaudio2", "mosquitto", "iproute2", "strace")
LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
PATIENCE_S: Final = 60.0

EVERYBODY: Final = "0666"
"""So that whatever stops a service at a node is its unit, and not the node's mode."""
NODES: Final = (
    ("c", 1, 3, EVERYBODY, "root", "null"),
    ("c", 1, 5, EVERYBODY, "root", "zero"),
    ("c", 1, 7, EVERYBODY, "root", "full"),
    ("c", 1, 8, EVERYBODY, "root", "random"),
    ("c", 1, 9, EVERYBODY, "root", "urandom"),
    ("c", 5, 0, EVERYBODY, "root", "tty"),
    # What hear may use, with the modes that udev gives.
    ("c", 116, 0, "0660", "audio", "snd/controlC0"),
    ("c", 116, 24, "0660", "audio", "snd/pcmC0D0c"),
    ("c", 13, 64, "0440", "earmark-mute", "input/event0"),
    # The loudspeaker and the button of play alone.
    ("c", 116, 16, EVERYBODY, "root", "snd/pcmC0D0p"),
    ("c", 13, 66, EVERYBODY, "root", "input/event2"),
    # What no unit allows: another card, a keyboard, and the rest.
    ("c", 116, 32, EVERYBODY, "root", "snd/controlC1"),
    ("c", 116, 56, EVERYBODY, "root", "snd/pcmC1D0c"),
    ("c", 116, 1, EVERYBODY, "root", "snd/seq"),
    ("c", 13, 65, EVERYBODY, "root", "input/event1"),
    ("c", 10, 223, EVERYBODY, "root", "uinput"),
    ("c", 254, 0, EVERYBODY, "root", "gpiochip0"),
    ("c", 153, 1, EVERYBODY, "root", "spidev0.1"),
    ("c", 81, 0, EVERYBODY, "root", "video0"),
    ("c", 10, 200, EVERYBODY, "root", "tun"),
    ("c", 1, 1, EVERYBODY, "root", "mem"),
    ("b", 7, 0, EVERYBODY, "root", "loop0"),
)


class Machine:
    """One that runs, from ``started`` on. Commands are run in it as root, or as somebody."""

    def __init__(self, process: "subprocess.Popen[bytes]", first: int, log: Path) -> None:
        self._process = process
        self.first = first
        """Its process 1, as this machine numbers it."""
        self.log = log

    def run(self, *words: str, user: str | None = None, data: str = "") -> str:
        """Run a command to its end and return what it printed.

        Raises:
            AssertionError: it failed; says how.
        """
        done = self.ask(*words, user=user, data=data)
        if done.returncode != 0 and words[0] == "systemctl":
            print(self.ask("journalctl", "--no-pager", "--lines", "30").stdout)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def ask(
        self, *words: str, user: str | None = None, data: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        return subprocess.run(
            self.words(*words, user=user),
            input=data,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command of root's."""
        return subprocess.Popen(
            self.words(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def words(self, *words: str, user: str | None = None) -> list[str]:
        """Return the command line that runs a command inside."""
        become = ("runuser", "--user", user, "--") if user else ()
        return [
            *("nsenter", "--target", str(self.first)),
            *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"),
            *("env", "-i", "PATH=/usr/sbin:/usr/bin", "HOME=/root", "LC_ALL=C.UTF-8", *become),
            *words,
        ]

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file of root's."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, data=text)

    def put(self, path: str, data: bytes) -> None:
        """Write a file of any bytes, for everybody to read."""
        Path(f"/proc/{self.first}/root{path}").write_bytes(data)

    def read(self, path: str) -> str:
        """Return what a file says."""
        return self.run("cat", path)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def said(self, unit: str) -> str:
        """Return what a unit wrote."""
        return self.run("journalctl", "--no-pager", "--output", "cat", "--unit", unit)

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        """Wait for something to become true; the limit is for failures, not a measurement."""
        until_s = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until_s, f"never: {what}\n{self._lately()}"
            time.sleep(0.05)

    def _lately(self) -> str:
        words = ("journalctl", "--no-pager", "--lines", "40", "--unit", "earmark-*")
        return self.ask(*words).stdout


@contextlib.contextmanager
def started(system: Path) -> Iterator[Machine]:
    """Boot, and end it with all that runs in it.

    Args:
        system: what ``installed`` yields.

    Raises:
        AssertionError: it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-units-") as name:
        work = Path(name)
        group = work.name  # several may run at once
        nodes = work / "nodes"
        nodes.write_text("".join(" ".join(map(str, node)) + "\n" for node in NODES))
        (work / "run").mkdir()
        log = work / "console"
        words = [str(ROOT / "tests" / "units" / "boot.sh"), str(system), str(work / "run"), group]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*words, str(nodes)], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            yield _up(process, log)
        finally:
            process.kill()  # and with it, by --kill-child, process 1, and so all of them
            process.wait()
            _remove(group)


def _up(process: "subprocess.Popen[bytes]", log: Path) -> Machine:
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if not children:
            continue
        found = Machine(process, int(children[0]), log)
        # Until then it is a shell, whose root is the host's.
        if Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
            done = found.ask("systemctl", "is-system-running", "--wait")
            if done.stdout.strip() in {"running", "degraded"}:
                return found
    raise AssertionError(f"it does not come up:\n{log.read_text(errors='replace')[-3000:]}")


def _remove(group: str) -> None:
    """Remove the control groups that it had; they are empty, now or in a moment."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            top = Path(line.split()[4]) / group
            for folder, _, _ in os.walk(top, topdown=False):
                for _ in range(50):
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()
                        break
                    time.sleep(0.02)


def architecture() -> str:
    """Return what Debian calls this machine."""
    return _out("dpkg", "--print-architecture")


@contextlib.contextmanager
def installed() -> Iterator[Path]:
    """Yield a root file system with the package installed; made where it is not there yet.

    It stays for the next time. Several may use one at once; one that nobody uses any more goes
    when another is made.
    """
    systems = BUILD / "units"
    systems.mkdir(parents=True, exist_ok=True)
    with _locked(systems / "lock", fcntl.LOCK_EX):
        system = _system(systems)
        in_use = contextlib.ExitStack()
        in_use.enter_context(_locked(system.with_suffix(".lock"), fcntl.LOCK_SH))
    with in_use:
        yield system


def _system(systems: Path) -> Path:
    _must(sys.executable, "-m", "firmware.deb", architecture())
    package = max((ROOT / "dist").glob(f"earmark_*_{architecture()}.deb"), key=_made)
    tar = _base()
    digest = hashlib.sha256(package.read_bytes() + str(tar.stat().st_mtime_ns).encode())
    system = systems / digest.hexdigest()[:16]
    if system.is_dir():
        return system
    for old in systems.glob("*.lock"):
        with contextlib.suppress(BlockingIOError), _locked(old, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(old.with_suffix(""), ignore_errors=True)
            old.unlink()
    root = systems / "unfinished"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    _must("tar", "--extract", "--numeric-owner", "--file", str(tar), "--directory", str(root))
    shutil.copy(package, root / "earmark.deb")
    # The package alone enables nothing that listens: this machine is a speaker.
    script = (
        'mount -t proc proc "$1/proc" && chroot "$1" dpkg --install /earmark.deb'
        ' && exec chroot "$1" /usr/lib/earmark/set-role speaker'
    )
    _must("unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "sh", str(root))
    (root / "earmark.deb").unlink()
    return root.rename(system)


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        os.close(file)


def _base() -> Path:
    """Return Debian as it comes, from its archive; once."""
    tar = BUILD / f"rootfs-{SUITE}-{architecture()}.tar"
    wanted = json.dumps([PACKAGES, LEFT_OUT])
    note = tar.with_suffix(".json")
    if not tar.exists() or not note.exists() or note.read_text() != wanted:
        BUILD.mkdir(exist_ok=True)
        note.unlink(missing_ok=True)
        _must(
            *("mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}"),
            '--aptopt=Apt::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
            *(SUITE, str(tar)),
        )
        note.write_text(wanted)
    return tar


def _made(path: Path) -> int:
    return path.stat().st_mtime_ns


def _must(*words: str) -> None:
    done = _done(words)
    assert done.returncode == 0, f"{words[:3]}…: {done.stdout}{done.stderr}"


def _out(*words: str) -> str:
    return _done(words).stdout.strip()


def _done(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
