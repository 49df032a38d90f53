import os
import subprocess
import sys
import textwrap
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
from tests.assist.understanding.homes import TEXT
from tests.assist.understanding.small_model import packed, tokenizer, weights

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
