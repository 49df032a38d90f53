"""What the machine does with memory: swap, bounds, and dumps of programs that crash."""

from pathlib import Path
from typing import Final

from listener.system.findings import Check, Finding

PROC: Final = Path("/proc")


def check_swap(proc: Path = PROC) -> Finding:
    """Look whether memory may be written to a disk.

    Args:
        proc: where the kernel tells.
    """
    try:
        lines = (proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return Check("swap").ok("this kernel has no swap")
    names = [line.split()[0] for line in lines if line.split()]
    if not names:
        return Check("swap").ok("there is none")
    in_memory = all(Path(name).name.startswith("zram") for name in names)
    return Check("swap").warn(
        f"{', '.join(names)}: sound is in locked memory, but copies that libraries make may"
        f" go {'there' if in_memory else 'to the disk'}",
        "swapoff -a, or MemorySwapMax=0 for hear",
        areas=len(names),
        in_memory=in_memory,
    )


def check_core_dumps(proc: Path = PROC) -> Finding:
    """Look where the memory of a program that crashes would go; hear's goes nowhere.

    Args:
        proc: where the kernel tells.
    """
    try:
        pattern = (proc / "sys" / "kernel" / "core_pattern").read_text("utf-8", "replace").strip()
    except OSError:
        return Check("core").ok("this kernel writes no core dumps")
    if pattern.startswith("|") and pattern.split()[0] not in ("|/bin/false", "|/usr/bin/false"):
        # A limit of 0 stops files, but not programs that the kernel hands a dump to.
        return Check("core").warn(
            f"dumps are handed to {pattern[1:].split()[0]}; hear forbids its own",
            "sysctl kernel.core_pattern='|/bin/false'",
        )
    return Check("core").ok("hear forbids its own; no program takes dumps")


def check_cgroup(root: Path) -> Finding:
    """Look whether systemd can bound a service's memory, and keep it out of swap.

    Args:
        root: of the machine's files.
    """
    try:
        controllers = (root / "sys" / "fs" / "cgroup" / "cgroup.controllers").read_text("utf-8")
    except OSError:
        return Check("cgroup").ok("no control groups of version 2 here")
    if "memory" in controllers.split():
        return Check("cgroup").ok("a service's memory can be bounded")
    return Check("cgroup").warn(
        "the kernel bounds no memory: MemorySwapMax=0 and MemoryMax= of our units do nothing",
        "cgroup_enable=memory in /boot/firmware/cmdline.txt, or no swap",
    )
