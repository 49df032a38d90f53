import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from listener.assist.recogniser import Recognition
from listener.assist.understanding.local_recogniser import LocalRecogniser
from listener.assist.understanding.recogniser_process import (
    ClipMessage,
    FoundMessage,
    read_message,
    write_message,
)
from listener.errors import Unavailable
from listener.selftest.memory import MemorySnapshot, snapshot_memory
from listener.selftest.watermark import Watermark
from listener.system.malloc import with_small_blocks_freed
from tests.assist.understanding.homes import TEXT
from tests.assist.understanding.small_model import packed, tokenizer, weights

SEARCHES = 5
CACHES = ("PYTHONMALLOC", "GLIBC_TUNABLES")
TRIES = """
import errno, os, resource, socket, sys
from listener.assist.understanding import process_limits
process_limits.protect_memory()
process_limits.close_in()
for attempt in (
    lambda: socket.socket(),
    lambda: socket.socket(socket.AF_UNIX),
    lambda: open("/etc/hostname"),
    lambda: os.pipe(),
    lambda: os.dup(0),
):
    try:
        attempt()
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("possible")
limit = resource.getrlimit
print(limit(resource.RLIMIT_CORE)[1], limit(resource.RLIMIT_NOFILE)[1] < 64)
try:
    bytearray(process_limits.MEMORY_BYTES)
except MemoryError:
    print("no memory")
"""


def test_closed_process_has_neither_files_nor_sockets_nor_much_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TRIES)], check=True, capture_output=True, text=True
    )

    assert done.stdout.split("\n")[:7] == [*["EMFILE"] * 5, "0 True", "no memory"]


def test_missing_model_is_reported_with_a_hint(tmp_path: Path) -> None:
    recogniser = LocalRecogniser(TEXT, tmp_path)

    with pytest.raises(Unavailable, match=r"the speech model lacks") as caught:
        recogniser.start()

    assert caught.value.hint == "run earmark assist models"
    assert recogniser.process_id is None


def test_process_that_ends_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    recogniser = LocalRecogniser(TEXT, tmp_path)

    with pytest.raises(Unavailable, match="has ended"):
        recogniser.recognise(np.zeros(16_000, np.int16), "alexa", is_final=True)

    assert recogniser.process_id is None


STAND_IN = """#!{python}
import pathlib, sys
def read():
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        sys.exit()
    sys.stdin.buffer.read(int.from_bytes(head, "big"))
def write(message):
    sys.stdout.buffer.write(len(message).to_bytes(4, "big") + message)
    sys.stdout.buffer.flush()
mark = pathlib.Path({mark!r})
read()
write({ready!r})
read()
if not mark.exists():
    mark.touch()
    {fault}
while True:
    write({found!r})
    read()
"""


def make_stand_in(folder: Path, fault: str) -> str:
    """Write a process that has a fault at the first clip of all; return its path."""
    path = folder / "stand-in"
    path.write_text(
        STAND_IN.format(
            python=sys.executable,
            mark=str(folder / "mark"),
            ready=msgspec.msgpack.encode(FoundMessage()),
            found=msgspec.msgpack.encode(FoundMessage("turn on the light")),
            fault=fault,
        )
    )
    path.chmod(0o755)
    return str(path)


CLIP = np.zeros(16_000, np.int16)


@pytest.mark.parametrize("fault", ["read()", "sys.exit(1)"])
def test_process_that_fails_is_replaced_before_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(sys, "executable", make_stand_in(tmp_path, fault))
    recogniser = LocalRecogniser(TEXT, tmp_path, answer_s=1.0)
    recogniser.start()
    first = recogniser.process_id
    try:
        while not (tmp_path / "mark").exists():  # under load the first one may get no clip in time
            with contextlib.suppress(Unavailable):
                recogniser.recognise(CLIP, "alexa", is_final=True)
            assert recogniser.process_id not in {None, first}, "it loads already"

        found = None
        while found is None:  # it may still be loading
            with contextlib.suppress(Unavailable):
                found = recogniser.recognise(CLIP, "alexa", is_final=True)
        assert found == Recognition("turn on the light", is_command=True)
    finally:
        recogniser.close()


def test_process_that_has_ended_is_replaced_while_no_command_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", make_stand_in(tmp_path, "pass"))
    now_s = 0.0
    recogniser = LocalRecogniser(TEXT, tmp_path, monotonic_s=lambda: now_s)
    recogniser.start()
    first = recogniser.process_id
    assert first is not None
    try:
        recogniser.keep_ready()
        assert recogniser.process_id == first
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)

        recogniser.keep_ready()
        assert recogniser.process_id == first, "at most one start in half a minute"
        now_s = 30.0
        recogniser.keep_ready()

        assert recogniser.process_id not in {None, first}
    finally:
        recogniser.close()


def test_process_that_cannot_start_is_no_error_while_no_command_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    recogniser = LocalRecogniser(TEXT, tmp_path)

    recogniser.keep_ready()

    assert recogniser.process_id is None


def test_process_ends_with_its_parent(tmp_path: Path) -> None:
    """A process whose parent is another one does not start."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "listener.assist.understanding.recogniser_process"),
            *(str(os.getppid()), str(tmp_path)),
        ],
        check=False,
        capture_output=True,
        input=b"",
    )

    assert (done.returncode, done.stdout) == (0, b"")


PROCESS = """
import hashlib, sys
from pathlib import Path
from listener.assist.understanding import model_files, recogniser_process
folder = Path(sys.argv[2])
for name in list(model_files.FILES):
    data = (folder / name).read_bytes()
    model_files.FILES[name] = (len(data), hashlib.sha256(data).hexdigest())
sys.exit(recogniser_process.main(sys.argv[1:]))
"""


FAKE = """
import sys
import numpy as np
from listener.assist.recogniser import Recognition
from listener.assist.understanding import recogniser_process

class Fake:
    def warm_up(self): ...

    def recognise(self, samples, word):
        # The text that the first samples are, with copies in objects that form a circle.
        # No small array of it: numpy itself caches those of up to 1 KiB.
        text = bytes(samples[: int(samples[0])].tolist()).decode("latin-1")[1:]
        circle = [text.lower(), text.split(), samples.astype(np.float32)]
        circle.append(circle)
        return Recognition(text, is_command=True)

recogniser_process._load = lambda home_text, folder: Fake()
sys.exit(recogniser_process.main(sys.argv[1:]))
"""
SENTENCE = "turn on the Zyxomma quillwort"


def _search(pid: int) -> tuple[MemorySnapshot, list[str]]:
    """Return a process's memory, and the places where it holds words of the sentence."""
    memory = snapshot_memory(pid)
    words = (b"yxomma", b"uillwort")
    return memory, [place for place, data in memory.pieces for word in words if word in data]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of such a process")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_uncached", [True, False])
def test_process_keeps_no_sentence_of_a_clip(tmp_path: Path, *, is_uncached: bool) -> None:
    """Without what `LocalRecogniser` sets in its environment, it would."""
    mark = Watermark(3)
    samples = mark.signal(0, 1_000)
    samples[: len(SENTENCE) + 1] = [len(SENTENCE) + 1, *SENTENCE.encode()]
    clip = msgspec.msgpack.encode(ClipMessage(samples.tobytes(), "alexa"))
    # Without what counts coverage: it keeps text of its own.
    environment = {
        name: one
        for name, one in os.environ.items()
        if name not in CACHES and "COVERAGE" not in name
    }
    with subprocess.Popen(
        [sys.executable, "-c", FAKE, str(os.getpid()), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env=with_small_blocks_freed(environment) if is_uncached else environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        for message in (b"", clip):
            write_message(process.stdin, message)
            answers.append(read_message(process.stdout))
        # It overwrites after the answer; by then it waits for the next clip.
        memory, left = _search(process.pid)
        for _ in range(SEARCHES):
            if not left:
                break
            time.sleep(0.5)
            memory, left = _search(process.pid)
        process.stdin.close()

    assert msgspec.msgpack.decode(answers[1] or b"", type=FoundMessage).text == SENTENCE
    assert memory.scan(mark).places == {}
    assert bool(left) is not is_uncached


def test_process_is_started_without_caches_of_freed_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, told = tmp_path / "python", tmp_path / "environment"
    program.write_text(f"#!/bin/sh\nenv > {told}\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=7")

    with pytest.raises(Unavailable):
        LocalRecogniser(TEXT, tmp_path).start()

    lines = told.read_text().splitlines()
    assert {"PYTHONMALLOC=malloc", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0"} <= set(lines)


def test_process_answers_clips_after_it_has_closed_itself_in(tmp_path: Path) -> None:
    """Nothing is loaded at the first clip: no file can be opened any more."""
    (tmp_path / "model.bin").write_bytes(packed(weights()))
    (tmp_path / "tokenizer.json").write_bytes(tokenizer())
    noise = np.random.default_rng(1).normal(0, 3000, 32_000).astype(np.int16)
    clip = msgspec.msgpack.encode(ClipMessage(noise.tobytes(), "hey-jarvis"))

    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(os.getpid()), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        for message in (TEXT.encode(), clip, clip):
            write_message(process.stdin, message)
            answers.append(read_message(process.stdout))
        process.stdin.close()

    assert [bytes(answer or b"") for answer in answers] == [
        msgspec.msgpack.encode(FoundMessage())
    ] * 3
    assert process.returncode == 0
