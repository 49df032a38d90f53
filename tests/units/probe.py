"""Tries, from inside a service's sandbox, what it may do and what it may not; prints JSON.

Runs in place of the program, with all else of the unit as it is. Standard library alone. Each
outcome is ``ok``, with what was seen where that counts, or the name of the error.
"""

import ctypes
import errno
import json
import mmap
import os
import pwd
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

EVERY_FAMILY = range(1, 46)  # AF_UNIX to AF_MCTP
EVERY_KIND = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET)
X86, ARM = "x86_64", "aarch64"
# Without a function in Python: on x86-64 and on aarch64.
CALLS = {
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "mount": (165, 40),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
CLONE_NEWUSER = 0x10000000

libc = ctypes.CDLL(None, use_errno=True)
seen: dict[str, str] = {}


def attempt(what: str, act: Callable[..., object], *given: object) -> None:
    """Do it with what is given, and note what came of it."""
    try:
        came = act(*given)
    except OSError as error:
        seen[what] = errno.errorcode.get(error.errno or 0, str(error))
    except (ValueError, subprocess.SubprocessError, RuntimeError) as error:
        seen[what] = f"{type(error).__name__}: {error}"
    else:
        seen[what] = "ok" if came is None else f"ok: {came}"


def system_call(name: str, *words: int) -> None:
    """Make a system call."""
    number = CALLS[name][os.uname().machine == ARM]
    if libc.syscall(number, *(ctypes.c_long(word) for word in words)) < 0:
        raise OSError(ctypes.get_errno(), name)


def families() -> str:
    """Return the families of which a socket can be made."""
    found = []
    for family in EVERY_FAMILY:
        for kind in EVERY_KIND:
            try:
                socket.socket(family, kind).close()
            except OSError:
                continue
            found.append(getattr(socket.AddressFamily(family), "name", str(family)))
            break
    return " ".join(found)


def interfaces() -> str:
    """Return the network's interfaces."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return " ".join(line.partition(":")[0].strip() for line in lines)


def device(path: str, flags: int) -> Callable[[], object]:
    """Open a node. A unit that lets it pass meets a driver that is not there: ENXIO or ENODEV."""
    return lambda: os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))


def nodes() -> Iterator[str]:
    """Yield every node there is."""
    for folder, _, names in os.walk("/dev"):
        for name in sorted(names):
            path = Path(folder, name)
            if not path.is_symlink() and stat.S_IFMT(path.lstat().st_mode) in {
                stat.S_IFCHR,
                stat.S_IFBLK,
            }:
                yield str(path)


def openable() -> str:
    """Return the nodes that the unit lets pass, to read or to write."""
    found = []
    for path in nodes():
        if path.startswith("/dev/pts"):
            continue
        may = ""
        for letter, flags in (("r", os.O_RDONLY), ("w", os.O_WRONLY)):
            try:
                device(path, flags)()
            except OSError as error:
                if error.errno in {errno.EPERM, errno.EACCES, errno.EROFS}:
                    continue
            may += letter
        if may:
            found.append(f"{path.removeprefix('/dev/')}:{may}")
    return " ".join(found)


def writable() -> str:
    """Try to make a file in every folder there is; return where that can be done."""
    found = []
    skipped = {"/proc", "/sys"}
    for folder, below, _ in os.walk("/"):
        below[:] = [name for name in below if os.path.join(folder, name) not in skipped]
        path = os.path.join(folder, ".earmark-probe")
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:
            continue
        os.unlink(path)
        found.append(folder)
    return " ".join(sorted(found))


def changeable(allowed: Iterable[str]) -> str:
    """Open for writing every file there is outside of some folders; return which can be."""
    found = []
    away = {"/proc", "/sys", "/dev", *allowed}
    for folder, below, names in os.walk("/"):
        below[:] = [name for name in below if os.path.join(folder, name) not in away]
        for name in names:
            path = os.path.join(folder, name)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
            except OSError:
                continue
            found.append(path)
    return " ".join(found)


def run(*words: str) -> str:
    """Run a program; return what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def runs(*words: str) -> None:
    """Run a program, and say nothing of what it printed."""
    run(*words)


def entries(folder: str) -> int:
    """Count what lies in a folder."""
    return len(os.listdir(folder))


def own_program(folder: str) -> None:
    """Write a program and run it."""
    path = Path(folder, ".earmark-program")
    path.write_bytes(Path("/bin/true").read_bytes())
    path.chmod(0o700)
    try:
        subprocess.run([str(path)], check=True, timeout=10)
    finally:
        path.unlink()


def run_file(folder: str) -> None:
    """Map a file that was written as code."""
    path = Path(folder, ".earmark-code")
    path.write_bytes(bytes(mmap.PAGESIZE))
    file = os.open(path, os.O_RDONLY)
    try:
        mmap.mmap(file, mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    finally:
        os.close(file)
        path.unlink()


def write_and_run() -> None:
    """Map memory that is written and run at once."""
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def write_then_run() -> None:
    """Map memory that is written, and make it run."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    failed = libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC)
    if failed:
        raise OSError(ctypes.get_errno(), "mprotect")


def set_user_bit(folder: str) -> None:
    """Make a file that others run as us."""
    path = Path(folder, ".earmark-setuid")
    path.touch()
    try:
        os.chmod(path, 0o4755)  # noqa: S103 - the sandbox has to forbid it
    finally:
        path.unlink()


def lock_memory() -> None:
    """Lock some, as the ring is."""
    page = mmap.mmap(-1, 64 * 1024)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if libc.mlock(ctypes.c_void_p(address), 64 * 1024):
        raise OSError(ctypes.get_errno(), "mlock")


def read(path: str) -> None:
    """Read a file, and say nothing of it."""
    with open(path, "rb") as file:
        file.read(1)


def make(folder: str) -> None:
    """Make a file, and remove it."""
    path = Path(folder, ".earmark-probe")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()


def credentials() -> str:
    """Return the names of what systemd handed over and we can read."""
    found = []
    for path in sorted(Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere")).iterdir()):
        read(str(path))
        found.append(path.name)
    return " ".join(found)


def speak(path: str) -> None:
    """Send a datagram without any meaning."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"?", path)


def listen(path: str) -> None:
    """Make a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(path)
    os.unlink(path)


def connect(host: str, port: int) -> Callable[[], object]:
    """Connect to somebody who listens."""
    return lambda: socket.create_connection((host, port), timeout=3).close()


def sockets() -> str:
    """Return the sockets of this machine that can be spoken to."""
    found = []
    for folder, below, names in os.walk("/"):
        below[:] = [name for name in below if os.path.join(folder, name) not in {"/proc", "/sys"}]
        for name in names:
            path = os.path.join(folder, name)
            try:
                if not stat.S_ISSOCK(os.lstat(path).st_mode):
                    continue
            except OSError:
                continue
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                try:
                    with socket.socket(socket.AF_UNIX, kind) as out:
                        out.connect(path)
                except OSError:
                    continue
                found.append(path)
                break
    return " ".join(sorted(found))


def alive() -> None:
    """Say to the supervisor that this lives."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])


def status(*names: str) -> str:
    """Return lines of the kernel about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines)
    return " ".join(f"{name}={told[name].strip()}" for name in names)


def main() -> None:
    """Try all of it, in the order in which it is shown."""
    told = json.loads(Path(sys.argv[1]).read_text())
    own: str = told["own"]
    attempt("makes sockets of the families", families)
    attempt("network interfaces", interfaces)
    for name, (host, port) in told["hosts"].items():
        attempt(f"connects to {name}", connect(host, port))
    attempt("speaks to the sockets", sockets)
    attempt("opens the nodes", openable)
    attempt(
        "makes a node", lambda: os.mknod(f"{own}/node", stat.S_IFCHR | 0o600, os.makedev(116, 24))
    )
    attempt("makes files in", writable)
    attempt("changes files outside of them", lambda: changeable(told["folders"]))
    for path in told["reads"]:
        attempt(f"reads {path}", read, path)
    attempt("has the credentials", credentials)
    for path in told["folders"]:
        attempt(f"makes a file in {path}", make, path)
    for path in told["lists"]:
        attempt(f"lists {path}", entries, path)
    attempt(
        "sees other programs",
        lambda: sum(name.isdigit() and int(name) != os.getpid() for name in os.listdir("/proc")),
    )
    attempt("runs its own interpreter", lambda: run(sys.executable, "-c", "print('it runs')"))
    for program in ("/bin/true", "/bin/sh", "/usr/bin/python3", "/usr/bin/strace"):
        words = (program, "-c", "exit 0") if program == "/bin/sh" else (program, "-V")
        attempt(f"runs {program}", runs, *words)
    attempt("runs a program that it wrote", lambda: own_program(own))
    attempt("maps a file that it wrote as code", lambda: run_file(own))
    attempt("has memory to write and run at once", write_and_run)
    attempt("has memory to write, then run", write_then_run)
    attempt("memfd_create", lambda: system_call("memfd_create", 0, 0))
    attempt("sets the user bit", lambda: set_user_bit(own))
    for name, pid in told["others"].items():
        attempt(f"traces {name}", system_call, "ptrace", PTRACE_SEIZE, pid, 0, 0)
        attempt(f"reads the memory of {name}", read, f"/proc/{pid}/mem")
        attempt(f"reads the environment of {name}", read, f"/proc/{pid}/environ")
        attempt(f"signals {name}", os.kill, pid, 0)
    attempt(
        "process_vm_readv", lambda: system_call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0)
    )
    attempt("a user namespace", lambda: system_call("unshare", CLONE_NEWUSER))
    attempt("mount", lambda: system_call("mount", 0, 0, 0, 0, 0))
    for name in (
        "bpf",
        "io_uring_setup",
        "keyctl",
        "perf_event_open",
        "pidfd_getfd",
        "userfaultfd",
    ):
        attempt(name, system_call, name, 0, 0, 0, 0, 0)
    attempt("another user", lambda: os.setuid(0))
    attempt(
        "real-time priority",
        lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)),
    )
    attempt("core dumps, in bytes", lambda: resource.getrlimit(resource.RLIMIT_CORE)[0])
    attempt("locks memory", lock_memory)
    for path in told["speaks"]:
        attempt(f"speaks to {path}", speak, path)
    attempt(f"makes a socket in {own}", lambda: listen(f"{own}/.earmark-socket"))
    attempt("tells systemd that it lives", alive)
    attempt("rights", lambda: status("CapPrm", "CapBnd", "NoNewPrivs", "Seccomp"))
    attempt("who", lambda: pwd.getpwuid(os.getuid()).pw_name)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print("earmark-probe " + json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
