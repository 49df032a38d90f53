"""What hear forbids itself, for good, before the first sound: dumps, leftovers, the network.

A seccomp filter, inherited by every child and every thread, answers EPERM to ``socket`` for
anything but AF_UNIX, to io_uring (which makes sockets of its own) and to what reaches into other
processes. Nothing here needs systemd or root. The standard library alone, so that the microphone's
process may import it.
"""

import ctypes
import errno
import logging
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from listener.errors import ConfigError
from listener.hear import child_process

_log = logging.getLogger(__name__)

# linux/prctl.h, linux/seccomp.h; by ctypes because Python has neither.
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_TSYNC: Final = 1

INSTRUCTION: Final = struct.Struct("=HBBI")
"""``struct sock_filter``: code, where to go on if so, if not so, and a number."""

# linux/bpf_common.h: load a word, jump if equal, jump if greater or equal, return.
_LOAD: Final = 0x20
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06

ALLOW: Final = 0x7FFF_0000
REFUSE: Final = 0x0005_0000 | errno.EPERM
KILL: Final = 0x8000_0000

# Where struct seccomp_data has its fields; both machines have their low word first.
_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_FIRST_ARGUMENT_AT: Final = 16

X32: Final = 0x4000_0000
"""From here on, x86-64 counts the system calls of its 32-bit twin, which we never make."""

SOCKET_CALLS: Final = ("socket", "socketpair")
"""Refused for any family but AF_UNIX."""

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
"""Refused whatever the arguments: roads around the filter, into others' memory, out of ours."""


@dataclass(frozen=True, slots=True)
class SeccompArch:
    """An architecture as seccomp sees it."""

    audit: int
    """AUDIT_ARCH_… of linux/audit.h."""
    calls: Mapping[str, int]
    """Numbers of the system calls that are refused, and of ``seccomp``."""
    foreign_from: int | None = None
    """Numbers from here on belong to another ABI of the same architecture."""


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


def apply_sandbox(*, is_required: bool = True) -> None:
    """Give up dumps, new rights and the network: in every thread, in every child, for good.

    Call it before the first sound and before the first child.

    Args:
        is_required: whether to refuse to go on where the filter cannot be had. Otherwise that is
            said aloud. Where it can be had nothing leaves it out.

    Raises:
        ConfigError: this process was handed a network socket; or the filter is required, and
            this machine or its kernel has none.
    """
    disable_core_dumps()
    handed = _network_sockets()
    if handed:
        raise ConfigError(
            f"hear was handed a network connection (descriptor {handed[0]})",
            "start it with files, pipes or a terminal for standard input, output and error",
        )
    try:
        _install(_this_arch())
    except _NoFilterError as error:
        if is_required:
            raise ConfigError(
                f"hear cannot forbid itself the network: {error}",
                'device.confinement = "where-possible" goes on without, and says so at each start',
            ) from error
        _log.warning("hear is NOT confined, it could open a network connection: %s", error)


def disable_core_dumps() -> None:
    """Do as `traces.disable_core_dumps`; where that fails, a warning says so."""
    if not child_process.disable_core_dumps():
        _log.warning("core dumps stay possible: the kernel does not forbid them")


def overwrite_freed_memory() -> bool:
    """Do as `traces.overwrite_freed_memory`; where that cannot be had, a warning says so."""
    does = child_process.overwrite_freed_memory()
    if not does:
        _log.warning(
            "memory that libraries free keeps what was in it: this C library wipes nothing"
        )
    return does


def build_filter(machine: SeccompArch) -> bytes:
    """Return the filter: an array of ``struct sock_filter``."""
    code = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 1, 0, machine.audit),
        # Another architecture has other numbers: whoever changes over wants to get past us.
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
            # The kernel takes the family as an int: the upper half does not count.
            (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
            (_IF_EQUAL, 1, 0, socket.AF_UNIX),
            (_RETURN, 0, 0, REFUSE),
            (_RETURN, 0, 0, ALLOW),
        ]
    code.append((_RETURN, 0, 0, ALLOW))
    return b"".join(INSTRUCTION.pack(*instruction) for instruction in code)


class _NoFilterError(Exception):
    """This machine or this kernel does not filter."""


def _this_arch() -> SeccompArch:
    name = os.uname().machine
    machine = MACHINES.get(name)
    # A 32-bit Python on a 64-bit kernel makes other calls than the kernel's name promises.
    if machine is None or struct.calcsize("P") != 8:  # noqa: PLR2004 - bytes of a 64-bit pointer
        bits = struct.calcsize("P") * 8
        raise _NoFilterError(f"{bits}-bit {name} is not among {', '.join(MACHINES)}")
    return machine


def _install(machine: SeccompArch) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise _NoFilterError(f"no_new_privs: {os.strerror(ctypes.get_errno())}")
    code = build_filter(machine)
    instructions = ctypes.create_string_buffer(code, len(code))
    count = len(code) // INSTRUCTION.size
    filters = ctypes.create_string_buffer(struct.pack("@HP", count, ctypes.addressof(instructions)))
    # Not prctl, which binds the calling thread alone: numpy's import has started others.
    failed = libc.syscall(
        ctypes.c_long(machine.calls["seccomp"]),
        ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(_TSYNC),
        filters,
    )
    if failed < 0:
        raise _NoFilterError(f"seccomp: {os.strerror(ctypes.get_errno())}")
    if failed:
        raise _NoFilterError(f"seccomp: thread {failed} has a filter of its own")


def _network_sockets() -> list[int]:
    """Return the descriptors that a filter on ``socket`` comes too late for."""
    return [number for number in _open_descriptors() if _is_network(number)]


def _open_descriptors() -> Iterable[int]:
    return sorted(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths


def _is_network(number: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(number)) as found:
            return found.family != socket.AF_UNIX
    except OSError:
        return False  # no socket, or the descriptor of the listing itself
