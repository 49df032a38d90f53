import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from listener.errors import Unavailable
from listener.selftest.memory import Region, check_access, parse_maps, snapshot_memory
from listener.selftest.watermark import Watermark

MARKED = Watermark(11)


@contextmanager
def a_process(program: str, sound: bytes = b"") -> Iterator[int]:
    """Run a program that reads sound and then waits; it says a line once it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(sound)
        process.stdin.flush()
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


HOLDS = """
    import sys
    sound = bytearray(sys.stdin.buffer.read(32_000))
    {then}
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_audio_in_memory_is_found_with_its_mapping() -> None:
    sound = MARKED.signal(0, 1_000).tobytes()

    with a_process(HOLDS.format(then=""), sound) as pid:
        seen = snapshot_memory(pid).scan(MARKED)

    assert seen.found.count == 1_000
    assert sum(seen.places.values()) >= 1_000
    assert seen.scanned_bytes > 1 << 20


def test_process_without_audio_has_no_blocks() -> None:
    sound = MARKED.signal(0, 1_000).tobytes()

    with a_process(HOLDS.format(then="sound[:] = bytes(len(sound))"), sound) as pid:
        seen = snapshot_memory(pid).scan(MARKED)

    # The reader's own buffer in front of the pipe may still have what it read last.
    assert seen.found.count <= 8_192 // 32


@pytest.mark.parametrize(
    ("kind", "place"), [("PRIVATE", "anonymous"), ("SHARED", "/dev/zero (deleted)")]
)
def test_pages_unreadable_for_their_process_are_read(kind: str, place: str) -> None:
    hide = f"""
        import ctypes, mmap, sys
        memory = mmap.mmap(-1, 32_768, flags=mmap.MAP_{kind} | mmap.MAP_ANONYMOUS)
        count = sys.stdin.buffer.raw.readinto(memoryview(memory)[:32_000])
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert not ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), 32_768, 0)
        print("ready", flush=True)
        sys.stdin.read()
    """

    with a_process(hide, MARKED.signal(0, 1_000).tobytes()) as pid:
        seen = snapshot_memory(pid).scan(MARKED)

    assert seen.found.count == 1_000
    assert seen.places == {place: 1_000}


def test_ended_process_is_unavailable() -> None:
    with a_process("print('ready')") as pid:
        pass

    with pytest.raises(Unavailable, match="ended before"):
        snapshot_memory(pid)


def test_protected_process_is_unavailable_with_a_hint() -> None:
    # Root may look into everything, so it gives that right up first.
    drop = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-all"] if not os.geteuid() else []
    program = """
        import os, sys, time
        from listener.errors import Unavailable
        from listener.hear.seccomp import disable_core_dumps
        from listener.selftest.memory import check_access
        ready, told = os.pipe()
        child = os.fork()
        if not child:
            disable_core_dumps()
            os.write(told, b"x")
            time.sleep(60)
        os.read(ready, 1)
        try:
            check_access(child)
        except Unavailable as error:
            print(error, "|", error.hint)
        os.kill(child, 9)
    """

    done = subprocess.run(
        [*drop, sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "may not read the memory of process" in done.stdout
    assert "unshare --user --map-root-user" in done.stdout


def test_own_process_is_accessible() -> None:
    with a_process("print('ready', flush=True); input()") as pid:
        check_access(pid)


def test_maps_are_parsed() -> None:
    text = (
        "55d0-55e0 r-xp 00000000 08:01 131  /usr/bin/a program (deleted)\n"
        "7f00-7f10 rw-p 00000000 00:00 0 \n"
        "7ffc-7ffe rw-p 00000000 00:00 0                          [stack]\n"
    )

    assert parse_maps(text) == [
        Region(0x55D0, 0x55E0, "/usr/bin/a program (deleted)", can_be_written=False),
        Region(0x7F00, 0x7F10, "anonymous", can_be_written=True),
        Region(0x7FFC, 0x7FFE, "[stack]", can_be_written=True),
    ]
