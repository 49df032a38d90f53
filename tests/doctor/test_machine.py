from pathlib import Path

import pytest

from listener.doctor import machine

HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def proc(tmp_path: Path, swaps: str | None = None, pattern: str | None = None) -> Path:
    if swaps is not None:
        (tmp_path / "swaps").write_text(swaps, "utf-8")
    if pattern is not None:
        (tmp_path / "sys" / "kernel").mkdir(parents=True)
        (tmp_path / "sys" / "kernel" / "core_pattern").write_text(pattern, "utf-8")
    return tmp_path


@pytest.mark.parametrize("swaps", [HEAD, None])
def test_no_swap_is_well(tmp_path: Path, swaps: str | None) -> None:
    assert machine.check_swap(proc(tmp_path, swaps)).verdict == "ok"


def test_swap_on_a_disk_is_a_warning(tmp_path: Path) -> None:
    finding = machine.check_swap(proc(tmp_path, HEAD + "/dev/sda2 partition 999 0 -2\n"))

    assert finding.verdict == "warn"
    assert "/dev/sda2" in finding.text
    assert "disk" in finding.text
    assert finding.facts == {"areas": 1, "in_memory": False}


def test_compressed_memory_is_said_to_be_none_of_the_disk(tmp_path: Path) -> None:
    finding = machine.check_swap(proc(tmp_path, HEAD + "/dev/zram0 partition 999 0 100\n"))

    assert finding.verdict == "warn"
    assert "disk" not in finding.text


@pytest.mark.parametrize(
    "pattern", ["core\n", "|/bin/false\n", "|/usr/bin/false %p\n", "/var/core.%p\n", None]
)
def test_dumps_that_no_program_takes_are_well(tmp_path: Path, pattern: str | None) -> None:
    assert machine.check_core_dumps(proc(tmp_path, pattern=pattern)).verdict == "ok"


def test_a_program_that_takes_dumps_is_a_warning(tmp_path: Path) -> None:
    finding = machine.check_core_dumps(
        proc(tmp_path, pattern="|/usr/lib/systemd/systemd-coredump %P\n")
    )

    assert finding.verdict == "warn"
    assert "/usr/lib/systemd/systemd-coredump" in finding.text
    assert "%P" not in finding.text


@pytest.mark.parametrize(
    ("controllers", "verdict"),
    [("cpu io memory pids\n", "ok"), ("cpuset cpu io pids\n", "warn"), (None, "ok")],
)
def test_memory_that_nobody_bounds_is_a_warning(
    tmp_path: Path, controllers: str | None, verdict: str
) -> None:
    folder = tmp_path / "sys" / "fs" / "cgroup"
    folder.mkdir(parents=True)
    if controllers is not None:
        (folder / "cgroup.controllers").write_text(controllers, "utf-8")

    finding = machine.check_cgroup(tmp_path)

    assert finding.verdict == verdict
    assert ("cgroup_enable=memory" in finding.hint) == (verdict == "warn")
