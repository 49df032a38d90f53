"""System calls of the hear process that can transfer bytes, traced by strace."""

import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyrage
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.storage.home import Home

pytestmark = pytest.mark.system

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
COMMAND = FIXTURES / "alexa_command.flac"
SCENE = Path(__file__).resolve().parents[2] / "listener" / "demo" / "scene.flac"
CALLS: Final = (
    "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,"
    "sendfile,splice,tee,vmsplice,copy_file_range,process_vm_writev,"
    "socket,socketpair,connect,execve"
)
RUN_SAMPLES: Final = 16
STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
SOCKET: Final = re.compile(r"socket(?:pair)?\((\w+)")


@dataclass(frozen=True)
class Trace:
    payloads: tuple[bytes, ...]
    sockets: frozenset[str]
    programs: int
    copies_unseen: int
    """Calls that move bytes inside the kernel, where no trace shows them."""


def traced(folder: Path, *words: str) -> Trace:
    """Run a program under strace; return all it wrote and sent."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: make debian")
    log = folder / "trace"
    subprocess.run(
        [strace, "-f", "-xx", "-s", "4000000", "-e", f"trace={CALLS}", "-o", str(log), *words],
        check=True,
        capture_output=True,
        timeout=150,
    )
    payloads, sockets, programs, unseen = [], set(), 0, 0
    for line in log.read_text("ascii").splitlines():
        call = line.split(None, 1)[1]
        name = call.split("(", 1)[0]
        if name == "execve":
            programs += 1
            continue
        if name in {"sendfile", "splice", "tee", "vmsplice", "copy_file_range"}:
            unseen += 1
        family = SOCKET.match(call)
        if family:
            sockets.add(family[1])
        for text, cut in STRING.findall(call):
            assert not cut, "strace showed only a part"
            payloads.append(bytes.fromhex(text.replace("\\x", "")))
    return Trace(tuple(payloads), frozenset(sockets), programs, unseen)


class Sought:
    """Runs of 16 samples of a recording, in each form that a program may hold it in.

    Of a long recording only each eighth run is sought: enough for any leak of 23 samples.
    """

    def __init__(self, samples: Samples, every: int = 1) -> None:
        self._runs: dict[int, set[bytes]] = {}
        level = samples.astype(np.float32)
        forms = (samples, level, level / 32_768, level / 32_767, samples.byteswap())
        for form in forms:
            width = RUN_SAMPLES * form.itemsize
            data = np.ascontiguousarray(form).tobytes()
            for at in range(0, len(data) - width, form.itemsize * every):
                run = data[at : at + width]
                # Silence is everywhere and tells nothing.
                if len(set(run)) > RUN_SAMPLES // 2:
                    self._runs.setdefault(width, set()).add(run)

    def found_in(self, payloads: tuple[bytes, ...]) -> int:
        """How many runs there are, at any byte."""
        return sum(
            payload[at : at + width] in runs
            for width, runs in self._runs.items()
            for payload in payloads
            for at in range(len(payload) - width + 1)
        )


@pytest.fixture(scope="module")
def sought() -> Sought:
    samples, _ = soundfile.read(COMMAND, dtype="int16")
    return Sought(samples)


@pytest.fixture
def ada(home: Path) -> Path:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    now_s = int(time.time())
    Home(home).change_roster(
        lambda roster: (
            roster.with_owner("ada", recipient)
            .with_challenge("ada", "yes", now_s)
            .with_confirmation("ada", "yes", now_s)
        )
    )
    return home


@pytest.mark.timeout(180)
def test_hear_opens_unix_sockets_only_and_writes_no_audio(ada: Path, tmp_path: Path) -> None:
    scene, _ = soundfile.read(SCENE, dtype="int16")

    trace = traced(
        tmp_path,
        *(sys.executable, "-m", "listener", "hear", "--home", str(ada), "--fast"),
        *(
            "--keeper",
            "ada",
            "--microphone",
            str(SCENE),
            "--word",
            "hey-lumen",
            "--mute",
            "33.6-42",
        ),
    )

    envelopes = [file.read_bytes() for file in (ada / "spool").glob("*.earmark")]
    assert len(envelopes) == 2
    written = b"".join(trace.payloads)
    assert all(envelope in written for envelope in envelopes), "the trace saw them go out"
    assert trace.sockets == {"AF_UNIX"}
    assert (trace.programs, trace.copies_unseen) == (1, 0), "no other program, no hidden copy"
    assert Sought(scene, every=8).found_in(trace.payloads) == 0
    assert not any(b"fLaC" in payload for payload in trace.payloads)


@pytest.mark.parametrize(
    "form", ["sound", "sound.astype('float32')", "sound.astype('float32') / 32768"]
)
def test_trace_scan_detects_a_program_that_writes_audio(
    tmp_path: Path, sought: Sought, form: str
) -> None:
    leak = (
        "import soundfile, sys; sound, _ = soundfile.read(sys.argv[1], dtype='int16');"
        f"open(sys.argv[2], 'wb').write(b'odd' + ({form})[40_000:40_100].tobytes())"
    )

    trace = traced(tmp_path, sys.executable, "-c", leak, str(COMMAND), str(tmp_path / "leak"))

    assert sought.found_in(trace.payloads) >= 80


def test_trace_scan_detects_a_network_socket(tmp_path: Path) -> None:
    trace = traced(tmp_path, sys.executable, "-c", "import socket; socket.socket().close()")

    assert trace.sockets == {"AF_INET"}
