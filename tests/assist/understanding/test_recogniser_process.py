import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from listener.assist.understanding.local_recogniser import LocalRecogniser
from listener.assist.understanding.recogniser_process import (
    ClipMessage,
    FoundMessage,
    read_message,
    write_message,
)
from listener.errors import Unavailable
from listener.selftest.memory import snapshot_memory
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


def test_provisional_part_is_not_acted_on(tmp_path: Path) -> None:
    recogniser = LocalRecogniser(TEXT, tmp_path)

    assert recogniser.recognise(np.zeros(16_000, np.int16), "alexa", is_final=False) is None
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of such a process")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_uncached", [True, False])
def test_process_keeps_no_sentence_of_a_clip(tmp_path: Path, *, is_uncached: bool) -> None:
    """Without what `LocalRecogniser` sets in its environment, it would."""
    mark = Watermark(3)
    samples = mark.signal(0, 1_000)
    samples[: len(SENTENCE) + 1] = [len(SENTENCE) + 1, *SENTENCE.encode()]
    clip = msgspec.msgpack.encode(ClipMessage(samples.tobytes(), "alexa"))
    environment = {name: one for name, one in os.environ.items() if name not in CACHES}
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
        for _ in range(SEARCHES):
            memory = snapshot_memory(process.pid)
            left = [
                (place, word)
                for place, data in memory.pieces
                for word in (b"yxomma", b"uillwort")
                if word in data
            ]
            if not left:
                break
            time.sleep(0.5)
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
