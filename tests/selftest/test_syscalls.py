import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from listener.selftest.syscalls import SentData, find_strace, search_trace, strace_command
from listener.selftest.watermark import Watermark

MARKED = Watermark(5)


def hexed(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def line(thread: int, name: str, data: bytes, call: str = "write") -> str:
    return (
        f'{thread}  {call}(4<{hexed(name.encode())}>, "{hexed(data)}", {len(data)}) = {len(data)}\n'
    )


def test_blocks_are_found_by_thread_and_destination() -> None:
    sound = MARKED.signal(0, 10).tobytes()
    lines = [
        line(7, "pipe:[12]", sound),
        line(7, "socket:[13]", b"hello", "sendto"),
        line(8, "/home/log", sound[:96]),
        line(8, "/dev/null", sound),
        "7  +++ exited with 0 +++\n",
    ]

    sent = search_trace(lines, MARKED)

    seen = [(one.thread, one.kind, one.calls, one.sent_bytes, one.found.count) for one in sent]
    assert seen == [
        (7, "pipe", 1, 320, 10),
        (7, "socket", 1, 5, 0),
        (8, "file", 1, 96, 3),
        (8, "nowhere", 1, 320, 10),
    ]


def test_block_in_small_pieces_is_found() -> None:
    sound = MARKED.signal(0, 1).tobytes()
    lines = [line(7, "pipe:[1]", sound[at : at + 1]) for at in range(len(sound))]

    (sent,) = search_trace(lines, MARKED)

    assert sent.calls == 32
    assert sent.found.count == 1


def test_interrupted_call_counts_once() -> None:
    data = hexed(MARKED.signal(0, 1).tobytes())
    lines = [
        f'9  write(1<{hexed(b"pipe:[2]")}>, "{data}", 32 <unfinished ...>\n',
        "9  <... write resumed>) = 32\n",
    ]

    (sent,) = search_trace(lines, MARKED)

    assert (sent.calls, sent.found.count) == (1, 1)


def test_every_writing_call_is_traced(tmp_path: Path) -> None:
    program = find_strace()
    if program is None:
        pytest.skip("strace is not installed: make debian")
    sound = tmp_path / "sound"
    sound.write_bytes(MARKED.signal(0, 50).tobytes())
    writes = """
        import os, socket, sys, threading
        sound = open(sys.argv[1], "rb").read()
        part = [sound[at : at + 320] for at in range(0, len(sound), 320)]
        out, into = os.pipe()
        here, there = socket.socketpair()
        os.write(into, part[0])
        os.writev(into, [part[1][:100], part[1][100:]])
        here.send(part[2])
        here.sendmsg([part[3][:32], part[3][32:]])
        file = os.open(sys.argv[1] + ".copy", os.O_RDWR | os.O_CREAT)
        thread = threading.Thread(target=os.pwrite, args=(file, part[4], 0))
        thread.start()
        thread.join()
    """
    trace = tmp_path / "trace"
    words = [sys.executable, "-c", textwrap.dedent(writes), str(sound)]

    subprocess.run(strace_command(words, program, trace), check=True)
    sent = search_trace(trace.read_text("ascii").splitlines(), MARKED)

    found: dict[str, int] = {}
    for one in sent:
        found[one.kind] = found.get(one.kind, 0) + one.found.count
    assert (found["pipe"], found["socket"], found["file"]) == (20, 20, 10)
    assert len({one.thread for one in sent if one.found}) == 2


def test_new_sent_data_has_no_blocks() -> None:
    assert not SentData(1, "pipe").found
