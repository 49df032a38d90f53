import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.selftest.processes import (
    descendants,
    freeze,
    has_open,
    name_of,
    process_tree,
    read_position_bytes,
)

CHILD = "print('ready', flush=True); input()"
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=sys.stdin)
child.wait()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.communicate(b"\n")


def state(pid: int) -> str:
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]


def test_process_tree_has_all_descendants(
    parent: subprocess.Popen[bytes],
) -> None:
    found = process_tree(parent.pid)

    assert len(found) == 2
    assert found[0].pid == parent.pid
    assert all(process.pid in process.threads for process in found)


def test_parents_come_before_children_with_smaller_ids() -> None:
    parents = {1: 0, 32_000: 1, 32_700: 32_000, 310: 32_000, 305: 310, 400: 1, 401: 400}

    assert descendants(32_000, parents) == (32_000, 310, 32_700, 305)


@given(st.dictionaries(st.integers(1, 30), st.integers(0, 30)))
def test_descendants_of_any_parents_are_finite_and_unique(parents: dict[int, int]) -> None:
    # /proc is read entry by entry: a number may have been given again in between.
    found = descendants(1, parents)

    assert found[0] == 1
    assert len(set(found)) == len(found)
    assert all(parents[child] in found[: found.index(child)] for child in found[1:])


def test_ended_process_has_no_tree() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass

    assert process_tree(ended.pid) == ()


def test_freeze_stops_and_continues_processes(parent: subprocess.Popen[bytes]) -> None:
    found = process_tree(parent.pid)

    with freeze(found):
        during = [state(process.pid) for process in found]
    until_s = time.monotonic() + 40
    while any(state(process.pid) == "T" for process in found):
        assert time.monotonic() < until_s, "never: they go on"

    assert during == ["T", "T"]


def test_freeze_accepts_an_ended_process() -> None:
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE) as process:
        found = process_tree(process.pid)
        process.kill()

    with freeze(found):
        pass


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("python -m listener hear --json", "hear"),
        ("python -m listener send", "send"),
        ("python -P -m listener.hear.microphone.process --device=x", "microphone"),
        ("python -m listener.selftest.leaky_listener a b", "leaky"),
        ("python -m listener", "listener"),
        ("/usr/bin/strace -f -- python -m listener hear", "strace"),
        ("/usr/bin/mosquitto -v", "mosquitto"),
        ("python -m", "python"),
        ("python -P -m listener.hear.voiceprint.embedding_process --parent=1", "embedding"),
    ],
)
def test_process_is_named_by_its_command_line(line: str, name: str) -> None:
    assert name_of(line.split()) == name


def test_read_position_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    path.write_bytes(bytes(1_000))
    ours = process_tree(os.getpid())[:1]

    before = read_position_bytes(ours, path), has_open(ours, path)
    with path.open("rb", 0) as file:
        file.read(300)
        during = read_position_bytes(ours, path), has_open(ours, path)

    assert before == (None, False)
    assert during == (300, True)
