import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from listener.hear.memory import ClipBuffers, allocate_locked


def flags_of(address: int) -> str:
    """The VmFlags of the mapping that holds an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text("ascii").splitlines():
        head = line.split()[0]
        if "-" in head:
            first, end = (int(part, 16) for part in head.split("-"))
            inside = first <= address < end
        elif inside and head == "VmFlags:":
            return line
    raise AssertionError("no such mapping")


def test_audio_memory_is_locked_and_not_dumped_or_inherited() -> None:
    buffer = allocate_locked(100_000)

    assert buffer.shape == (100_000,)
    assert not buffer.any()
    flags = flags_of(buffer.ctypes.data).split()
    assert {"lo", "dd", "dc"} <= set(flags), "locked, don't dump, don't copy on fork"


def run(program: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, whose limits it may lower."""
    words = [*prefix, sys.executable, "-c", program]
    return subprocess.run(words, capture_output=True, text=True, check=True)


def test_memory_that_cannot_be_locked_is_logged_and_used() -> None:
    # Root may lock without limit, so it drops that right first.
    drop = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-all"] if not os.geteuid() else []

    ended = run(
        "import resource, logging; logging.basicConfig();"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0));"
        "from listener.hear.memory import allocate_locked; allocate_locked(10)[:] = 1",
        *drop,
    )

    assert "memory for audio is not locked" in ended.stderr


THREADS = """
import ctypes, pathlib, threading
from listener.system.malloc import use_single_malloc_arena
{call}
both = threading.Barrier(3)
places = []
def work():
    held = bytearray(5_000)
    places.append(ctypes.addressof((ctypes.c_char * 5_000).from_buffer(held)))
    both.wait()
for _ in range(2):
    threading.Thread(target=work).start()
both.wait()
maps = pathlib.Path("/proc/self/maps").read_text().splitlines()
(heap,) = [line.split()[0] for line in maps if line.endswith("[heap]")]
first, end = (int(number, 16) for number in heap.split("-"))
print(sum(first <= place < end for place in places))
"""


@pytest.mark.parametrize(("call", "inside"), [("use_single_malloc_arena()", 2), ("", 0)])
def test_threads_share_one_malloc_arena(call: str, inside: int) -> None:
    ended = run(THREADS.format(call=call))

    assert int(ended.stdout) == inside


def test_released_buffers_are_wiped_and_reused() -> None:
    buffers = ClipBuffers(2, 1_000)
    first, second = buffers.take(), buffers.take()
    assert first is not None
    assert second is not None
    assert buffers.take() is None
    first.fill(5)
    view = first[:10]
    view.flags.writeable = False

    buffers.release(view)
    buffers.release(view)

    assert not first.any()
    assert buffers.take() is first
    assert buffers.take() is None, "given back twice, it is lent once"


def test_buffer_can_be_wiped_while_in_use() -> None:
    buffers = ClipBuffers(1, 1_000)
    buffer = buffers.take()
    assert buffer is not None
    buffer.fill(5)

    buffers.wipe(buffer[:10])

    assert not buffer.any()
    assert buffers.take() is None


def test_foreign_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of these"):
        ClipBuffers(1, 10).release(np.zeros(10, np.int16))
