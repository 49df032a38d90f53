"""An archive with 100,000 clips: a day listed, an export streamed, 10,000 clips erased.

The archive is the real process, asked over its socket with tickets and keys as an owner asks. Its
clips are sealed for true and small (4 kB): what is measured is the archive, not the disk's rate.
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
_PATIENCE_S: Final = 300


def measure(say: Callable[[str], None], clips: int = CLIPS) -> dict[str, Any]:
    """Fill an archive, ask it, and return what it took."""
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as folder:
        home = Home(Path(folder) / "home")
        began_s = time.monotonic()
        people, day = fill(home, clips)
        say(f"archive   {clips} clips sealed and laid in in {time.monotonic() - began_s:.0f} s")
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
    """Run the archive, with no broker in reach; yield its process id."""
    settings = home.path.parent / "earmark.toml"
    settings.write_text("broker.port = 9\n", "utf-8")
    words = earmark("archive", "--config", str(settings), "--home", str(home.path))
    with running(words) as process:
        until_s = time.monotonic() + _PATIENCE_S
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
    """Export, look at the ZIP, and at how far the archive's memory rose meanwhile."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")  # forget the earlier peak
    before_bytes = _memory_bytes(pid, "VmRSS")
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as file:
        first_s = json.loads(_ask(home, name, identity, file, op="export"))
        took_s = time.monotonic() - began_s
        with zipfile.ZipFile(file) as made:
            clips = sum(entry.startswith("clips/") for entry in made.namelist())
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
    """Go through both steps, as an owner does; return the answer.

    Where there is a ``file`` the answer goes there, and what returns is when it began.
    """
    asked = json.dumps({"owner": owner, "request": request}).encode()
    with closing(_Wire(home.path / "archive.sock")) as wire:
        wire.request("POST", "/v1/tickets", asked, {"content-type": "application/json"})
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


class _Wire(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("archive", timeout=_PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Open it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def _memory_bytes(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    (found,) = [line for line in lines if line.startswith(what + ":")]
    return int(found.split()[1]) * 1024


if __name__ == "__main__":
    json.dump(measure(lambda line: print(line, file=sys.stderr)), sys.stdout, indent=1)
