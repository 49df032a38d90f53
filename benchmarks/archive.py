"""Archive with 100,000 clips: list a day, stream an export, erase 10,000 clips.

The archive is the real process; requests go over its socket with tickets and keys, as from an
owner. The clips are real envelopes of only 4 kB, so that the disk does not dominate.
"""

import http.client
import io
import json
import socket
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any, Final

import pyrage

from benchmarks.figures import percentile
from benchmarks.processes import earmark, running
from benchmarks.stock import fill
from listener.storage.home import Home

CLIPS: Final = 100_000
LISTS: Final = 100
_MIB: Final = 1 << 20
_TIMEOUT_S: Final = 300


def measure(say: Callable[[str], None], clips: int = CLIPS) -> dict[str, Any]:
    """Fill an archive and measure its requests; return the figures."""
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        home = Home(Path(folder) / "home")
        began_s = time.monotonic()
        people, day = fill(home, clips)
        say(f"archive   {clips} clips sealed and stored in {time.monotonic() - began_s:.0f} s")
        began_s = time.monotonic()
        with served(home) as pid:
            results: dict[str, Any] = {
                "clips": clips,
                "start_s": round(time.monotonic() - began_s, 2),
                **_lists(people["ada"], home, day),
            }
            say(
                f"archive   a day of {results['listed']} clips listed: p50"
                f" {results['list_p50_ms']} ms, p95 {results['list_p95_ms']}"
            )
            for size, name in (("small", "cleo"), ("large", "bob")):
                results[f"export_{size}"] = _export(people[name], home, name, pid)
                say(f"archive   export: {results[f'export_{size}']}")
            results["export_grown_mib"] = results["export_large"]["grown_mib"]
            began_s = time.monotonic()
            receipt = json.loads(_ask(home, "ada", people["ada"], op="erase", all=True))["receipt"]
            results["erase_s"] = round(time.monotonic() - began_s, 2)
            results["erased"] = receipt["count"]
            say(f"archive   {receipt['count']} clips erased in {results['erase_s']} s")
    return results


@contextmanager
def served(home: Home) -> Iterator[int]:
    """Run the archive without a broker; yield its process id."""
    config = home.path.parent / "earmark.toml"
    config.write_text("broker.port = 9\n", "utf-8")
    command = earmark("archive", "--config", str(config), "--home", str(home.path))
    with running(command) as process:
        until_s = time.monotonic() + _TIMEOUT_S
        while not (home.path / "archive.sock").exists() and time.monotonic() < until_s:
            time.sleep(0.02)
        yield process.pid


def _lists(identity: "pyrage.x25519.Identity", home: Home, day: str) -> dict[str, Any]:
    times_ms = []
    listed = 0
    for _ in range(LISTS):
        began_s = time.perf_counter()
        listed = len(json.loads(_ask(home, "ada", identity, op="list", day=day))["clips"])
        times_ms.append((time.perf_counter() - began_s) * 1000)
    return {
        "listed": listed,
        "list_p50_ms": round(percentile(times_ms, 50), 1),
        "list_p95_ms": round(percentile(times_ms, 95), 1),
    }


def _export(identity: "pyrage.x25519.Identity", home: Home, name: str, pid: int) -> dict[str, Any]:
    """Export all clips of an owner; return sizes, times and the growth of the archive's memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")  # reset the peak
    before_bytes = _memory_bytes(pid, "VmRSS")
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as file:
        first_s = json.loads(_ask(home, name, identity, file, op="export"))
        took_s = time.monotonic() - began_s
        with zipfile.ZipFile(file) as export:
            clips = sum(entry.startswith("clips/") for entry in export.namelist())
        size_bytes = file.seek(0, io.SEEK_END)
    grown_bytes = _memory_bytes(pid, "VmHWM") - before_bytes
    return {
        "clips": clips,
        "zip_mib": round(size_bytes / _MIB, 1),
        "first_byte_s": round(first_s - began_s, 2),
        "s": round(took_s, 2),
        "grown_mib": round(grown_bytes / _MIB, 1),
    }


def _ask(
    home: Home,
    owner: str,
    identity: "pyrage.x25519.Identity",
    file: IO[bytes] | None = None,
    **request: object,
) -> bytes:
    """Send a request with its challenge, as an owner does; return the response.

    With ``file`` the response is written there, and the monotonic time of its begin is returned.
    """
    body = json.dumps({"owner": owner, "request": request}).encode()
    with closing(_UnixConnection(home.path / "archive.sock")) as wire:
        wire.request("POST", "/v1/tickets", body, {"content-type": "application/json"})
        ticket = json.loads(wire.getresponse().read())
        answer = pyrage.decrypt(ticket["challenge"].encode(), [identity])
        wire.request("POST", f"/v1/tickets/{ticket['ticket']}", answer)
        response = wire.getresponse()
        began_s = time.monotonic()
        if file is None:
            return response.read()
        while piece := response.read(1 << 16):
            file.write(piece)
        return json.dumps(began_s).encode()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("archive", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def _memory_bytes(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    (match,) = [line for line in lines if line.startswith(what + ":")]
    return int(match.split()[1]) * 1024


if __name__ == "__main__":
    json.dump(measure(lambda line: print(line, file=sys.stderr)), sys.stdout, indent=1)
