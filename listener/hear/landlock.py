"""Landlock domain of hear: the files and processes that it and its children can reach.

A domain is inherited by every child and by later threads, and cannot be removed. Outside of the
allowed paths no file can be opened; a process outside of the domain cannot be traced, so
``/proc/PID/mem`` of another process cannot be read or written even by the same user, and no signal
can be sent to it. Needs neither systemd nor root; kernels before 5.13, or built without Landlock,
do not have it. See landlock(7). Only modules of the standard library are imported.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CALLS: Final[Mapping[str, int]] = {
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
"""Numbers of the system calls, which are the same on x86-64 and aarch64."""

_VERSION: Final = 1
"""Flag of landlock_create_ruleset: return the version of the interface."""
_PATH_BENEATH: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38  # linux/prctl.h

# linux/landlock.h: LANDLOCK_ACCESS_FS_…
_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_FIRST_VERSION: Final = (1 << 13) - 1
_REFER: Final = 1 << 13  # version 2: rename between folders
_TRUNCATE: Final = 1 << 14  # version 3
_OF_A_FILE: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_USE: Final = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE
_SCOPE_SIGNAL: Final = 1 << 1  # version 6

_PROGRAMS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt/earmark")
_CONFIGURATION: Final = ("/etc", "/sys", "/run", "/var/lib/alsa", "/var/lib/dbus")
_PROC: Final = (
    "/proc/self",
    "/proc/asound",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/device-tree",
    "/proc/sys/kernel/random",
    "/proc/sys/vm/overcommit_memory",
)
_DEVICES: Final = (
    "/dev/snd",
    "/dev/input",
    "/dev/shm",  # noqa: S108 - sound servers exchange sound there; nothing is created by hear
    "/dev/null",
    "/dev/zero",
    "/dev/full",  # of ALSA's null device
    "/dev/random",
    "/dev/urandom",
)
_SOUND_VARIABLES: Final = ("ALSA_CONFIG_PATH", "ALSA_CONFIG_DIR", "ALSA_PLUGIN_DIR")
_SOUND_IN_HOME: Final = (".asoundrc", ".config/alsa", ".config/pulse", ".config/pipewire")
_TOO_WIDE: Final = frozenset({Path("/"), Path("/proc"), Path("/dev")})


@dataclass(frozen=True, slots=True)
class LandlockPaths:
    """Paths that a domain can reach; each with everything beneath it. Missing ones are ignored."""

    read: tuple[Path, ...] = ()
    """Files and folders to read, and programs to execute."""
    use: tuple[Path, ...] = ()
    """Devices to read and write."""
    change: tuple[Path, ...] = ()
    """Folders to change in any way."""


@dataclass(frozen=True, slots=True)
class LandlockState:
    """Result of `restrict`."""

    version: int
    """Version of the kernel's interface; 0 if the domain is not active."""
    reason: str = ""
    """Reason why it is not active, or does not cover the whole process."""


def paths_for(
    home: Path,
    environ: Mapping[str, str],
    *,
    read: Iterable[str] = (),
    use: Iterable[str] = (),
    change: Iterable[Path] = (),
) -> LandlockPaths:
    """Return the paths that hear needs.

    Args:
        home: the data directory.
        environ: the process's environment, for the configuration of ALSA and of sound servers.
        read: further files to read: recordings.
        use: further devices: LED, line of the switch.
        change: further folders to change.
    """
    runtime = environ.get("XDG_RUNTIME_DIR")
    user = environ.get("HOME")
    sound = [Path(environ[name]) for name in _SOUND_VARIABLES if environ.get(name)]
    packages = [Path(name) for name in sys.path if name]
    return LandlockPaths(
        read=(
            *map(Path, (*_PROGRAMS, *_CONFIGURATION, *_PROC, *read)),
            *map(Path, (sys.prefix, sys.base_prefix, sys.exec_prefix)),
            Path(sys.executable).resolve().parent,
            Path(__file__).resolve().parents[2],
            *packages,
            # The card of a test is a file beside ALSA's configuration.
            *(path if path.is_dir() else path.parent for path in sound),
            *(() if not user else (Path(user) / name for name in _SOUND_IN_HOME)),
        ),
        use=(
            *map(Path, (*_DEVICES, *use)),
            *Path("/dev").glob("gpiochip*"),
            *(() if not runtime else (Path(runtime),)),
        ),
        change=(home, *change),
    )


def kernel_version() -> int:
    """Return the version of the kernel's interface; 0 if the kernel does not have Landlock."""
    return max(0, _call("landlock_create_ruleset", None, 0, _VERSION))


def restrict(paths: LandlockPaths) -> LandlockState:
    """Put the calling thread, and all threads and children that it starts, into a domain.

    Call it before other threads are started. It cannot be undone.

    Args:
        paths: what the domain can reach.

    Returns:
        Whether the domain is active; never raises.
    """
    version = kernel_version()
    if not version:
        return LandlockState(0, "the kernel does not have Landlock")
    handled = _FIRST_VERSION | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)  # noqa: PLR2004 - versions
    scoped = _SCOPE_SIGNAL if version >= 6 else 0  # noqa: PLR2004 - a version
    # struct landlock_ruleset_attr: files, network (version 4), scope (version 6). The kernel
    # accepts a longer structure than it knows if the rest is zero.
    attributes = struct.pack("=QQQ", handled, 0, scoped)
    ruleset = _call("landlock_create_ruleset", attributes, len(attributes), 0)
    if ruleset < 0:
        return LandlockState(0, f"landlock_create_ruleset: {_error()}")
    try:
        rules = ((paths.read, _READ), (paths.use, _USE), (paths.change, handled))
        for places, access in rules:
            for path in dict.fromkeys(places):
                _allow(ruleset, path, access & handled)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _call("landlock_restrict_self", ruleset, 0) < 0:
            return LandlockState(0, f"landlock_restrict_self: {_error()}")
    finally:
        os.close(ruleset)
    others = len(os.listdir("/proc/self/task")) - 1  # noqa: PTH208 - numbers, not paths
    return LandlockState(
        version, f"{others} threads that run already are not covered" if others else ""
    )


def _allow(ruleset: int, path: Path, access: int) -> None:
    """Add a rule; a path that is missing is not allowed, and one that is too wide is not either."""
    if path in _TOO_WIDE or path.resolve() in _TOO_WIDE:
        return
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(f"/proc/self/fd/{place}"):  # noqa: PTH112 - the descriptor's file
            access &= _OF_A_FILE
        rule = struct.pack("=Qi", access, place)
        _call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def _call(name: str, *arguments: int | bytes | None) -> int:
    # Each argument as a whole register: ctypes would pass a bare int as 32 bits.
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = _libc().syscall(ctypes.c_long(CALLS[name]), *words)
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error() -> str:
    return os.strerror(ctypes.get_errno())
