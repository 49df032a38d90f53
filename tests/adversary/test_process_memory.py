"""Attacks on the memory of other processes of the same user, by a process that was taken over.

Root may read everything: the attacker here is an ordinary user, as hear's user on a speaker.
"""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from listener.hear.landlock import kernel_version

pytestmark = pytest.mark.system

NOBODY = 65534
SECRET = "BROKER-PASSWORD-OF-SEND"  # noqa: S105 - made up for this test

VICTIM = """
    import sys
    secret = bytearray(b"BROKER-PASSWORD-" + b"OF-SEND")
    {before}
    print("ready", flush=True)
    sys.stdin.readline()
    print(secret.decode(), flush=True)
"""

ATTACK = """
    import ctypes, json, os, signal, socket, sys
    pid = int(sys.argv[1])
    {before}
    found = {{"landlock": state.version if state else 0, "blocks": 0}}
    def attempt(name, call):
        try:
            call()
            found[name] = "done"
        except OSError as error:
            found[name] = os.strerror(error.errno)
    def overwrite():
        secret = b"BROKER-PASSWORD-" + b"OF-SEND"
        with open(f"/proc/{{pid}}/maps") as maps:
            lines = [line.split() for line in maps if "rw" in line.split()[1]]
        with open(f"/proc/{{pid}}/mem", "r+b", 0) as memory:
            for words in lines:
                first, end = (int(part, 16) for part in words[0].split("-"))
                try:
                    memory.seek(first)
                    data = memory.read(end - first)
                except OSError:
                    continue
                at = data.find(secret)
                while at >= 0:
                    memory.seek(first + at)
                    memory.write(b"X" * len(secret))
                    found["blocks"] += 1
                    at = data.find(secret, at + 1)
    attempt("memory", overwrite)
    attempt("environment", lambda: open(f"/proc/{{pid}}/environ", "rb").read())
    attempt("descriptors", lambda: os.listdir(f"/proc/{{pid}}/fd"))
    attempt("signal", lambda: os.kill(pid, signal.SIGCONT))
    print(json.dumps(found))
"""

HEAR = """
    from pathlib import Path
    from listener.hear.landlock import paths_for
    from listener.hear.seccomp import apply_sandbox
    state = apply_sandbox(paths_for(Path("/nowhere"), os.environ))
"""
UNDUMPABLE = """
    from listener.system.dumps import disable_core_dumps
    assert disable_core_dumps()
"""


def program(code: str, before: str = "") -> list[str]:
    """Return the command line of a program that runs as an ordinary user."""
    inserted = textwrap.indent(textwrap.dedent(before), "    ").strip()
    text = textwrap.dedent(code.format(before=inserted or "state = None"))
    as_user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    words = [] if os.geteuid() else [*as_user, "--bounding-set=-all", "--inh-caps=-all"]
    return [*words, sys.executable, "-c", text]


@contextmanager
def victim(before: str = "") -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        program(VICTIM, before), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


def secret_of(process: "subprocess.Popen[str]") -> str:
    out, _ = process.communicate("\n")
    return str(out).strip()


def attack(pid: int, before: str = "") -> dict[str, Any]:
    done = subprocess.run(
        [*program(ATTACK, before), str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_open_to_the_user() -> bool:
    """Return whether the kernel lets a user trace any own process; Yama may refuse it."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return not scope.exists() or scope.read_text().strip() == "0"


@pytest.mark.skipif(not is_open_to_the_user(), reason="Yama refuses what this control needs")
def test_control_unprotected_processes_are_open_to_their_user() -> None:
    with victim() as process:
        found = attack(process.pid)

        assert found["memory"] == "done"
        assert found["blocks"] > 0
        assert secret_of(process) != SECRET


@pytest.mark.skipif(
    kernel_version() == 0, reason="NOT PROVEN HERE: this kernel does not have Landlock (5.13)"
)
def test_hear_reaches_no_other_process_of_its_user() -> None:
    with victim() as process:
        found = attack(process.pid, HEAR)

        assert found["landlock"] > 0
        assert found["blocks"] == 0
        for name in ("memory", "environment", "descriptors"):
            assert found[name] == "Permission denied"
        if found["landlock"] >= 6:  # the version that confines signals
            assert found["signal"] == "Operation not permitted"
        assert secret_of(process) == SECRET


def test_memory_of_a_command_is_closed_to_its_user_on_any_kernel() -> None:
    with victim(UNDUMPABLE) as process:
        found = attack(process.pid)

        assert found["blocks"] == 0
        for name in ("memory", "environment", "descriptors"):
            assert found[name] == "Permission denied"
        assert secret_of(process) == SECRET


@pytest.mark.parametrize(
    "command", ["send", "archive", "run", "household", "clips", "hear", "owner", "first-boot"]
)
def test_every_command_closes_its_memory_before_it_is_loaded(command: str) -> None:
    is_dumpable = "ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)"
    text = (
        "import ctypes, sys, types\n"
        "import listener.cli.main as main\n"
        f"load = lambda name: sys.exit({is_dumpable} + 100)\n"
        "main.importlib = types.SimpleNamespace(import_module=load)\n"
        f"sys.argv = ['earmark', {command!r}]\n"
        "sys.exit(main.main())\n"
    )

    done = subprocess.run([sys.executable, "-c", text], check=False)

    assert done.returncode == 100
