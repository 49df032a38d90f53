"""Sandbox of hear: a seccomp filter against network sockets, Landlock, and no core dumps.

The filter is inherited by every child and thread and cannot be removed. It returns EPERM for
``socket`` with any family except AF_UNIX, for io_uring (which can create sockets) and for calls
that access other processes. Needs neither systemd nor root. Only modules of the standard library
are imported, so that the microphone process can import this module.
"""

import ctypes
import errno
import logging
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from listener.errors import ConfigError
from listener.hear.landlock import LandlockPaths, LandlockState, restrict
from listener.system import dumps, malloc
from listener.system.open_files import list_descriptors

_log = logging.getLogger(__name__)

# linux/prctl.h, linux/seccomp.h; Python has no functions for them.
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_TSYNC: Final = 1

INSTRUCTION: Final = struct.Struct("=HBBI")
"""``struct sock_filter``: code, jump offset if true, jump offset if false, operand."""

# linux/bpf_common.h: load a word, jump if equal, jump if greater or equal, return.
_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06

ALLOW: Final = 0x7FFF_0000
REFUSE: Final = 0x0005_0000 | errno.EPERM
KILL: Final = 0x8000_0000

# Offsets in struct seccomp_data; both architectures are little-endian.
_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_FIRST_ARGUMENT_AT: Final = 16

X32: Final = 0x4000_0000
"""First system call number of the x32 ABI on x86-64, which hear does not use."""

SOCKET_CALLS: Final = ("socket", "socketpair")
"""System calls refused for any family except AF_UNIX."""

REFUSED_CALLS: Final = (
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "add_key",
    "request_key",
    "keyctl",
)
"""System calls refused with any arguments: they bypass the filter, or access other processes."""


@dataclass(frozen=True, slots=True)
class SeccompArch:
    """Architecture with its system call numbers."""

    audit: int
    """AUDIT_ARCH_… from linux/audit.h."""
    calls: Mapping[str, int]
    """Numbers of the refused system calls and of ``seccomp``, by name."""
    foreign_from: int | None = None
    """First number of another ABI of the same architecture; None without one."""


MACHINES: Final[Mapping[str, SeccompArch]] = {
    "x86_64": SeccompArch(
        0xC000_003E,
        {
            "socket": 41,
            "socketpair": 53,
            "ptrace": 101,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "seccomp": 317,
            "io_uring_setup": 425,
            "io_uring_enter": 426,
            "io_uring_register": 427,
            "pidfd_getfd": 438,
        },
        foreign_from=X32,
    ),
    "aarch64": SeccompArch(
        0xC000_00B7,
        {
            "ptrace": 117,
            "socket": 198,
            "socketpair": 199,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "seccomp": 277,
            "io_uring_setup": 425,
            "io_uring_enter": 426,
            "io_uring_register": 427,
            "pidfd_getfd": 438,
        },
    ),
}


def apply_sandbox(
    paths: LandlockPaths | None = None, *, is_required: bool = True, name: str = "hear"
) -> LandlockState:
    """Disable core dumps, new privileges, network sockets and other files in threads and children.

    Call it before the microphone is opened and before the first child process or thread. It cannot
    be undone.

    Args:
        paths: files that this process and its children need; None for no limit of files.
        is_required: True to raise an error where the filter is not supported; False to log a
            warning. Where the filter is supported it is always installed.
        name: the command, for messages.

    Returns:
        State of the Landlock domain, which is never required: not every kernel has Landlock.

    Raises:
        ConfigError: this process has inherited a network socket; or the filter is required and
            the machine or its kernel does not support it.
    """
    disable_core_dumps()
    inherited = _network_sockets()
    if inherited:
        raise ConfigError(
            f"{name} has inherited a network socket (descriptor {inherited[0]})",
            f"start {name} with files, pipes or a terminal as standard input, output and error",
        )
    try:
        _install(_this_arch())
    except _NoFilterError as error:
        if is_required:
            raise ConfigError(
                f"cannot install the seccomp filter against network access: {error}",
                'set device.confinement to "where-possible" to run without the filter',
            ) from error
        _log.warning("%s is NOT confined, it could open a network connection: %s", name, error)
    if paths is None:
        return LandlockState(0, "no paths are given")
    state = restrict(paths)
    if state.reason:
        _log.info("Landlock is %sactive: %s", "" if state.version else "not ", state.reason)
    return state


def disable_core_dumps() -> None:
    """Call `dumps.disable_core_dumps`; log a warning if it fails."""
    if not dumps.disable_core_dumps():
        _log.warning("cannot disable core dumps: the kernel refused prctl(PR_SET_DUMPABLE)")


def overwrite_freed_memory() -> bool:
    """Call `malloc.overwrite_freed_memory`; log a warning if it is not supported."""
    is_supported = malloc.overwrite_freed_memory()
    if not is_supported:
        _log.warning("freed memory is not overwritten: this C library does not support M_PERTURB")
    return is_supported


def build_filter(machine: SeccompArch) -> bytes:
    """Return the filter: an array of ``struct sock_filter``."""
    code = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 1, 0, machine.audit),
        # Another architecture has other numbers, which would bypass the filter.
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine.foreign_from is not None:
        code += [(_IF_AT_LEAST, 0, 1, machine.foreign_from), (_RETURN, 0, 0, REFUSE)]
    for name in REFUSED_CALLS:
        code += [(_IF_EQUAL, 0, 1, machine.calls[name]), (_RETURN, 0, 0, REFUSE)]
    for name in SOCKET_CALLS:
        code += [
            (_IF_EQUAL, 0, 4, machine.calls[name]),
            # The kernel reads the family as an int: the upper half is ignored.
            (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
            (_IF_EQUAL, 1, 0, socket.AF_UNIX),
            (_RETURN, 0, 0, REFUSE),
            (_RETURN, 0, 0, ALLOW),
        ]
    code.append((_RETURN, 0, 0, ALLOW))
    return b"".join(INSTRUCTION.pack(*instruction) for instruction in code)


class _NoFilterError(Exception):
    """Filter that this machine or its kernel does not support."""


def _this_arch() -> SeccompArch:
    name = os.uname().machine
    machine = MACHINES.get(name)
    # A 32-bit Python on a 64-bit kernel uses other system call numbers.
    if machine is None or struct.calcsize("P") != 8:  # noqa: PLR2004 - bytes of a 64-bit pointer
        bits = struct.calcsize("P") * 8
        raise _NoFilterError(f"{bits}-bit {name} is not one of {', '.join(MACHINES)}")
    return machine


def _install(machine: SeccompArch) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _NoFilterError(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    code = build_filter(machine)
    instructions = ctypes.create_string_buffer(code, len(code))
    count = len(code) // INSTRUCTION.size
    filters = ctypes.create_string_buffer(struct.pack("@HP", count, ctypes.addressof(instructions)))
    # Not prctl, which affects only the calling thread: importing numpy has started others.
    failed = libc.syscall(
        ctypes.c_long(machine.calls["seccomp"]),
        ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(_TSYNC),
        filters,
    )
    if failed < 0:
        raise _NoFilterError(f"seccomp: {os.strerror(ctypes.get_errno())}")
    if failed:
        raise _NoFilterError(f"seccomp: thread {failed} already has another filter")


def _network_sockets() -> list[int]:
    """Return the descriptors of network sockets that are open already."""
    return [number for number in list_descriptors() if _is_network(number)]


def _is_network(number: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(number)) as duplicate:
            return duplicate.family != socket.AF_UNIX
    except OSError:
        return False  # not a socket, or the descriptor of the directory listing
