"""Landlock domain: what it opens and what it closes, on this kernel; and a kernel without it."""

import ctypes
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from listener.hear import landlock
from listener.hear.landlock import CALLS, LandlockPaths, kernel_version, paths_for, restrict

HEADERS = (
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),
)
needs_landlock = pytest.mark.skipif(
    kernel_version() == 0, reason="NOT PROVEN HERE: this kernel does not have Landlock (5.13)"
)


def run(code: str, *arguments: object) -> Any:  # noqa: ANN401 - a decoded JSON value
    """Run code in its own process, which a domain can confine; return the JSON that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CONFINED = """
    import json, os, sys
    from pathlib import Path
    from listener.hear.landlock import paths_for, restrict
    home, other = Path(sys.argv[1]), Path(sys.argv[2])
    state = restrict(paths_for(home, os.environ))
    found = {}
    def attempt(name, call):
        try:
            call()
            found[name] = ""
        except OSError as error:
            found[name] = type(error).__name__
"""


@pytest.mark.parametrize("header", HEADERS, ids=["x86_64", "aarch64"])
def test_system_call_numbers_match_the_kernel_headers(header: Path) -> None:
    if not header.exists():
        pytest.skip(f"{header} is not here (linux-libc-dev brings it)")
    text = header.read_text()

    for name, number in CALLS.items():
        found = re.search(rf"^#define __NR_{name} (\d+)$", text, re.MULTILINE)
        assert found is not None
        assert int(found[1]) == number


@needs_landlock
def test_domain_opens_the_home_and_nothing_beside_it(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    home.mkdir()
    other.mkdir()
    (other / "secret").write_text("secret")
    (home / "link").symlink_to(other / "secret")

    found = run(
        CONFINED
        + """
    attempt("write home", lambda: (home / "new").write_text("x"))
    attempt("rename in home", lambda: (home / "new").rename(home / "newer"))
    attempt("make folder", lambda: (home / "folder").mkdir())
    attempt("move in home", lambda: (home / "newer").rename(home / "folder" / "newer"))
    attempt("remove in home", lambda: (home / "folder" / "newer").unlink())
    attempt("read other", lambda: (other / "secret").read_text())
    attempt("through a link", lambda: (home / "link").read_text())
    attempt("write other", lambda: (other / "new").write_text("x"))
    attempt("remove other", lambda: (other / "secret").unlink())
    attempt("truncate other", lambda: os.truncate(other / "secret", 0))
    attempt("list other", lambda: os.listdir(other))
    attempt("write program", lambda: open(os.__file__, "r+b"))
    attempt("read program", lambda: open(os.__file__, "rb"))
    attempt("null", lambda: open("/dev/null", "wb"))
    attempt("own status", lambda: open("/proc/self/status"))
    attempt("boot id", lambda: open("/proc/sys/kernel/random/boot_id").read())
    attempt("process of init", lambda: open("/proc/1/cmdline"))
    print(json.dumps(found))
    """,
        home,
        other,
    )

    assert {name for name, error in found.items() if not error} == {
        *("write home", "rename in home", "make folder", "move in home", "remove in home"),
        *("read program", "null", "own status", "boot id"),
    }
    assert {error for error in found.values() if error} == {"PermissionError"}
    assert (other / "secret").read_text() == "secret"


@needs_landlock
def test_domain_is_inherited_by_threads_and_programs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "home").mkdir()

    found = run(
        CONFINED
        + """
    import subprocess, threading
    read = (other / "secret").read_text
    thread = threading.Thread(target=attempt, args=("thread", read))
    thread.start()
    thread.join()
    words = [sys.executable, "-c", "open(" + repr(str(other / "secret")) + ")"]
    found["program"] = subprocess.run(words, stderr=subprocess.DEVNULL).returncode
    found["other program"] = subprocess.run([sys.executable, "-c", ""]).returncode
    found["reason"] = state.reason
    print(json.dumps(found))
    """,
        tmp_path / "home",
        tmp_path,
    )

    assert found == {"thread": "PermissionError", "program": 1, "other program": 0, "reason": ""}


@needs_landlock
def test_thread_that_runs_already_is_reported(tmp_path: Path) -> None:
    found = run(
        """
        import json, os, sys, threading
        from pathlib import Path
        from listener.hear.landlock import paths_for, restrict
        stop = threading.Event()
        threading.Thread(target=stop.wait, daemon=True).start()
        print(json.dumps(restrict(paths_for(Path(sys.argv[1]), os.environ)).reason))
        """,
        tmp_path,
    )

    assert found == "1 threads that run already are not covered"


@needs_landlock
def test_recordings_and_devices_of_the_configuration_are_open(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"RIFF")
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    (tmp_path / "home").mkdir()

    found = run(
        """
        import json, os, sys
        from pathlib import Path
        from listener.hear.landlock import paths_for, restrict
        folder = Path(sys.argv[1])
        one, device = str(folder / "a.wav"), "/dev/ptmx"
        restrict(paths_for(folder / "home", os.environ, read=[one, "/gone"], use=[device]))
        found = [Path(one).read_bytes().decode()]
        os.close(os.open(device, os.O_RDWR))
        for path in (folder / "b.wav", Path(one)):
            try:
                path.open("r+b" if path.name == "a.wav" else "rb")
            except PermissionError:
                found.append(path.name)
        print(json.dumps(found))
        """,
        tmp_path,
    )

    assert found == ["RIFF", "b.wav", "a.wav"]


def test_paths_that_are_too_wide_are_never_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root").symlink_to("/")
    added: list[int] = []
    monkeypatch.setattr(landlock, "_call", lambda *arguments: added.append(len(arguments)))

    for path in (Path("/"), Path("/proc"), Path("/proc/../"), tmp_path / "root"):
        landlock._allow(0, path, 0)  # noqa: SLF001 - a rule that is never added shows nowhere
    assert added == []
    landlock._allow(0, tmp_path, 0)  # noqa: SLF001 - the control
    assert len(added) == 1


def test_kernel_without_landlock_is_reported_and_nothing_else_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def refuse(name: str, *_: object) -> int:
        calls.append(name)
        return -1

    monkeypatch.setattr(landlock, "_call", refuse)
    state = restrict(LandlockPaths())

    assert (state.version, state.reason) == (0, "the kernel does not have Landlock")
    assert calls == ["landlock_create_ruleset"]


@pytest.mark.parametrize("failing", list(CALLS))
def test_call_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """As where the systemd unit of an older version does not allow the system calls."""

    def call(name: str, *arguments: object) -> int:
        if name == "landlock_create_ruleset":
            return 7 if arguments[0] is None else -1 if name == failing else os.open("/", os.O_PATH)
        return -1 if name == failing else 0

    monkeypatch.setattr(landlock, "_call", call)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: _NoLibc())
    state = restrict(LandlockPaths())

    if failing == "landlock_add_rule":
        assert state.version == 7, "a path that cannot be allowed stays closed"
    else:
        assert state.version == 0
        assert state.reason.startswith(failing)


class _NoLibc:
    def prctl(self, *_: int) -> int:
        """Change nothing in the process of the tests."""
        return 0


def test_paths_name_the_sound_configuration_and_no_wide_folder(tmp_path: Path) -> None:
    paths = paths_for(
        tmp_path,
        {
            "ALSA_CONFIG_PATH": "/cards/asoundrc",
            "XDG_RUNTIME_DIR": "/run/user/7",
            "HOME": "/home/a",
        },
    )

    assert paths.change == (tmp_path,)
    assert Path("/cards") in paths.read
    assert Path("/home/a/.config/pulse") in paths.read
    assert Path("/run/user/7") in paths.use
    assert Path("/home/a") not in paths.read
