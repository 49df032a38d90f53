import errno
import json
import os
import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener.hear.seccomp import (
    ALLOW,
    INSTRUCTION,
    KILL,
    MACHINES,
    REFUSE,
    REFUSED_CALLS,
    SOCKET_CALLS,
    X32,
    SeccompArch,
    build_filter,
)

if TYPE_CHECKING:
    from tests.conftest import Household

AF_UNIX = 1
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
machines = st.sampled_from(sorted(MACHINES))
words = st.integers(0, 2**32 - 1)
arguments = st.tuples(*[st.integers(0, 2**64 - 1)] * 6)


def verdict(code: bytes, number: int, audit: int, given: tuple[int, ...]) -> int:
    """Run a filter as the kernel does, and hold it to the kernel's rules on the way."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *given)
    instructions = list(INSTRUCTION.iter_unpack(code))
    accumulator = 0
    at = 0
    while True:
        operation, if_so, if_not, value = instructions[at]
        at += 1
        match operation:
            case 0x20:
                assert value % 4 == 0
                assert value + 4 <= len(data)
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x15:
                at += if_so if accumulator == value else if_not
            case 0x35:
                at += if_so if accumulator >= value else if_not
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"the kernel would not take {operation:#x}")


def expected(machine: SeccompArch, number: int, family: int) -> int:
    """What the filter promises, said without jumps."""
    if machine.foreign_from is not None and number >= machine.foreign_from:
        return REFUSE
    if number in {machine.calls[name] for name in REFUSED_CALLS}:
        return REFUSE
    if number in {machine.calls[name] for name in SOCKET_CALLS}:
        return ALLOW if family & 0xFFFF_FFFF == AF_UNIX else REFUSE
    return ALLOW


@pytest.mark.parametrize("name", MACHINES)
def test_system_call_numbers_match_the_kernel_headers(name: str) -> None:
    header = HEADERS[name]
    if not header.exists():
        pytest.skip(f"{header} is not here (linux-libc-dev brings it)")
    found = dict(
        re.findall(r"^#define __NR(?:3264)?_(\w+) (\d+)$", header.read_text(), re.MULTILINE)
    )

    numbers = {call: int(found[call]) for call in MACHINES[name].calls}

    assert numbers == MACHINES[name].calls


@given(name=machines, number=words, given_=arguments)
def test_any_system_call_number_gets_the_expected_verdict(
    name: str, number: int, given_: tuple[int, ...]
) -> None:
    machine = MACHINES[name]

    assert verdict(build_filter(machine), number, machine.audit, given_) == expected(
        machine, number, given_[0]
    )


@given(name=machines, number=st.integers(0, 600), given_=arguments)
def test_every_known_system_call_gets_the_expected_verdict(
    name: str, number: int, given_: tuple[int, ...]
) -> None:
    machine = MACHINES[name]

    assert verdict(build_filter(machine), number, machine.audit, given_) == expected(
        machine, number, given_[0]
    )


@given(name=machines, call=st.sampled_from(SOCKET_CALLS), family=st.integers(0, 2**64 - 1))
@example(name="x86_64", call="socket", family=AF_UNIX)
@example(name="aarch64", call="socketpair", family=AF_UNIX)
@example(name="aarch64", call="socket", family=2**32 + AF_UNIX)
@example(name="x86_64", call="socket", family=2)
def test_only_unix_sockets_are_allowed(name: str, call: str, family: int) -> None:
    machine = MACHINES[name]

    found = verdict(
        build_filter(machine), machine.calls[call], machine.audit, (family, 0, 0, 0, 0, 0)
    )

    assert found == (ALLOW if family % 2**32 == AF_UNIX else REFUSE)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("call", REFUSED_CALLS)
def test_system_calls_that_bypass_the_filter_are_refused(name: str, call: str) -> None:
    machine = MACHINES[name]

    found = verdict(build_filter(machine), machine.calls[call], machine.audit, (0,) * 6)

    assert found == REFUSE


@given(name=machines, number=words, audit=words, given_=arguments)
@example(name="x86_64", number=359, audit=0x4000_0003, given_=(2, 0, 0, 0, 0, 0))
@example(name="aarch64", number=281, audit=0x4000_0028, given_=(2, 0, 0, 0, 0, 0))
def test_another_architecture_is_killed(
    name: str, number: int, audit: int, given_: tuple[int, ...]
) -> None:
    machine = MACHINES[name]

    found = verdict(build_filter(machine), number, audit, given_)

    assert (found == KILL) == (audit != machine.audit)


@given(number=st.integers(X32, 2**32 - 1), given_=arguments)
def test_x32_system_calls_are_refused(number: int, given_: tuple[int, ...]) -> None:
    machine = MACHINES["x86_64"]

    assert verdict(build_filter(machine), number, machine.audit, given_) == REFUSE


def run(text: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own: what it forbids itself is for good."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_process_without_core_dumps_leaves_none() -> None:
    done = run("""
        import ctypes, resource
        from listener.hear.seccomp import disable_core_dumps
        disable_core_dumps()
        print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
    """)

    assert done.stdout.split() == ["0", "(0,", "0)"]


def test_freed_memory_is_overwritten() -> None:
    done = run("""
        import ctypes
        from listener.hear.seccomp import overwrite_freed_memory
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        def left(length):
            piece = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(length)))
            ctypes.memset(piece, 0x11, length)
            libc.free(piece)
            # A freed block holds addresses of the allocator, in which any single byte can occur.
            return ctypes.string_at(piece, length).count(bytes([0x11]) * 16)
        print(left(4_000) > 0)
        print(overwrite_freed_memory(), left(1_100), left(4_000), left(100_000))
    """)

    before, after = done.stdout.splitlines()
    assert before == "True"
    assert after == "True 0 0 0"


def test_filter_applies_to_all_threads_including_numpys() -> None:
    done = run("""
        import threading, time
        from pathlib import Path
        import numpy
        from listener.hear.seccomp import apply_sandbox
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        apply_sandbox()
        for status in Path("/proc/self/task").glob("*/status"):
            found = dict(line.split(":\\t") for line in status.read_text().splitlines())
            print(found["NoNewPrivs"], found["Seccomp"])
    """)

    assert len(done.stdout.splitlines()) > 1, done.stderr
    assert set(done.stdout.splitlines()) == {"1 2"}


def test_kernel_enforces_the_filter() -> None:
    done = run("""
        import ctypes, json, os, socket
        from listener.hear.seccomp import MACHINES, REFUSED_CALLS, apply_sandbox
        apply_sandbox()
        libc = ctypes.CDLL(None, use_errno=True)
        calls = MACHINES[os.uname().machine].calls
        told = {}
        for name in REFUSED_CALLS:
            libc.syscall(ctypes.c_long(calls[name]), *[ctypes.c_long(0)] * 5)
            told[name] = ctypes.get_errno()
        for family in socket.AddressFamily:
            try:
                socket.socket(family, socket.SOCK_DGRAM).close()
                told[family.name] = 0
            except OSError as error:
                told[family.name] = error.errno
        one, other = socket.socketpair()
        print(json.dumps(told))
    """)

    told = json.loads(done.stdout)
    assert told.pop("AF_UNIX") == 0
    assert {"AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"} <= set(told)
    assert set(told.values()) == {errno.EPERM}


def test_inherited_network_socket_is_refused() -> None:
    done = run("""
        import os, socket
        from listener.errors import ConfigError
        from listener.hear.seccomp import apply_sandbox
        local = socket.socketpair()
        kept = socket.socket(socket.AF_INET6)
        try:
            apply_sandbox(is_required=False)
        except ConfigError as error:
            print(error, os.strerror(0) if error.exit_code == 78 else "")
    """)

    assert "inherited a network socket" in done.stdout


REFUSED_WITH_A_WAY_OUT = """
    from listener.errors import ConfigError
    from listener.hear.seccomp import apply_sandbox
    try:
        apply_sandbox()
    except ConfigError as error:
        print(error, "|", error.hint)
    apply_sandbox(is_required=False)
    print("goes on")
"""


def test_unknown_architecture_is_refused_with_a_hint() -> None:
    as_32_bits = "import ctypes; ctypes.CDLL(None).personality(8)\n"

    done = run(as_32_bits + textwrap.dedent(REFUSED_WITH_A_WAY_OUT))

    refused, went_on = done.stdout.splitlines()
    assert "is not one of x86_64, aarch64" in refused
    assert "device.confinement" in refused
    assert went_on == "goes on"
    assert "hear is NOT confined" in done.stderr


def test_thread_with_another_filter_is_an_error() -> None:
    one_thread_filters = """
        import ctypes, struct, threading
        from listener.hear.seccomp import MACHINES, build_filter
        code = build_filter(MACHINES["x86_64"])[-8:]
        held = ctypes.create_string_buffer(code, len(code))
        filters = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(held)))
        libc = ctypes.CDLL(None)
        libc.prctl(38, 1, 0, 0, 0)
        done = threading.Event()
        def filter_alone():
            libc.prctl(22, 2, filters, 0, 0)
            done.set()
            threading.Event().wait()
        threading.Thread(target=filter_alone, daemon=True).start()
        done.wait()
    """

    done = run(textwrap.dedent(one_thread_filters) + textwrap.dedent(REFUSED_WITH_A_WAY_OUT))

    refused, went_on = done.stdout.splitlines()
    assert "already has another filter" in refused
    assert went_on == "goes on"


PROBE = """
# Python runs this before hear; its thread waits until hear has confined itself, and then tries.
import json, os, socket, subprocess, sys, threading, time

FAMILIES = "AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"

def attempt():
    told = {}
    for name in FAMILIES:
        try:
            socket.socket(getattr(socket, name), socket.SOCK_DGRAM).close()
            told[name] = "made"
        except OSError as error:
            told[name] = error.strerror
    return told

def watch():
    while "Seccomp:\\t2" not in open("/proc/thread-self/status").read():
        time.sleep(0.01)
    child = subprocess.run([sys.executable, "-c", "import sitecustomize as s; print(s.tell())"],
        env={**os.environ, "EARMARK_PROBE": ""}, capture_output=True, text=True)
    with open(os.environ["EARMARK_PROBE"] + ".new", "w") as file:
        json.dump({"hear": attempt(), "child": json.loads(child.stdout)}, file)
    os.rename(file.name, os.environ["EARMARK_PROBE"])

def tell():
    return json.dumps(attempt())

if os.environ.get("EARMARK_PROBE"):
    threading.Thread(target=watch).start()
"""


@pytest.mark.system
def test_hear_and_its_children_create_only_unix_sockets(
    household: "Household", tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PROBE)
    sound = Path(__file__).parents[1] / "fixtures" / "alexa_command.flac"
    words = ["hear", "--home", str(household.home.path), "--keeper", "ada", "--json"]
    told = tmp_path / "told.json"

    done = subprocess.run(
        [sys.executable, "-m", "listener", *words, "--microphone", str(sound)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "EARMARK_PROBE": str(told)},
    )

    refused = os.strerror(errno.EPERM)
    sockets = {
        "AF_UNIX": "made",
        "AF_INET": refused,
        "AF_INET6": refused,
        "AF_NETLINK": refused,
    }
    assert done.returncode == 0, done.stderr
    assert json.loads(told.read_text()) == {"hear": sockets, "child": sockets}
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert "sealed" in events, "reading, judging and sealing work behind the filter"
