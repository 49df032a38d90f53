"""Processes of the benchmarks: workers, a broker, and Earmark on a new data directory."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyrage

from benchmarks.sounds import ROOT
from listener.errors import Unavailable
from listener.storage.home import Home

DEVICE: Final = "speaker"
KEEPER: Final = "ada"

WORKER_LIMIT_S: Final = 300
STOP_LIMIT_S: Final = 10
START_LIMIT_S: Final = 15


TUNING: Final = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that change the arithmetic of numeric libraries."""


def untuned() -> dict[str, str]:
    """Return the environment without ``TUNING``."""
    return {name: value for name, value in os.environ.items() if name not in TUNING}


def one_thread() -> dict[str, str]:
    """Return the environment with one thread for numeric libraries."""
    return {**untuned(), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def worker(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in its own process and return the JSON object that it prints.

    Raises:
        Unavailable: it failed; the message quotes the last line of its standard error.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = finished(command, one_thread(), folder=ROOT, limit_s=WORKER_LIMIT_S)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"{module} {' '.join(arguments[:1])} failed: {last}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in measured.items()
    }


def finished(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    limit_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end; return its exit code and output."""
    return subprocess.run(  # noqa: S603 - a list without a shell; each benchmark gives a fixed command
        command,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """Run a broker on loopback without persistence; yield its port.

    Raises:
        Unavailable: mosquitto is not installed or does not start.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise Unavailable("mosquitto is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = folder / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n", "utf-8"
    )
    with running([program, "-c", str(settings)]):
        limit_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError as error:
                if time.monotonic() > limit_s:
                    raise Unavailable("mosquitto does not answer") from error
                time.sleep(0.02)
        yield port


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` during the block, then terminate it."""
    process = subprocess.Popen(  # noqa: S603 - a list without a shell: a broker or earmark, with a configuration written here
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=untuned()
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def earmark(*arguments: str) -> list[str]:
    """Return the command that runs ``earmark`` with these arguments."""
    return [sys.executable, "-m", "listener", *arguments]


def peak_rss_mib(pid: int) -> float | None:
    """Return the peak resident memory of a process; None if it has exited."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def write_home(folder: Path, port: int) -> Path:
    """Create a data directory with a confirmed owner; return the path of its configuration."""
    home = Home(folder / "home")
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    now_s = int(time.time())
    home.change_roster(
        lambda roster: (
            roster.with_owner(KEEPER, recipient)
            .with_challenge(KEEPER, "proven", now_s)
            .with_confirmation(KEEPER, "proven", now_s)
        )
    )
    settings = folder / "earmark.toml"
    settings.write_text(
        f'home = "{home.path}"\n'
        f'[device]\nname = "{DEVICE}"\n'
        f'[attribution]\nkeeper = "{KEEPER}"\n'
        f'[broker]\nhost = "127.0.0.1"\nport = {port}\n',
        "utf-8",
    )
    return settings
