import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listener.doctor import machine
from listener.system.findings import Finding


def sensors(root: Path, *temperatures: str) -> Path:
    for number, text in enumerate(temperatures):
        folder = root / "sys" / "class" / "thermal" / f"thermal_zone{number}"
        folder.mkdir(parents=True)
        (folder / "temp").write_text(text, "utf-8")
    return root


def throttled(root: Path, text: str, soc: str = "soc") -> Path:
    folder = root / "sys" / "devices" / "platform" / soc / f"{soc}:firmware"
    folder.mkdir(parents=True)
    (folder / "get_throttled").write_text(text, "utf-8")
    return root


def monitor(root: Path, number: int, name: str, alarm: str | None) -> Path:
    folder = root / "sys" / "class" / "hwmon" / f"hwmon{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n", "utf-8")
    if alarm is not None:
        (folder / "in0_lcrit_alarm").write_text(alarm, "utf-8")
    return root


@pytest.mark.parametrize(
    ("temperatures", "verdict", "text"),
    [
        (("48312\n",), "ok", "48 °C"),
        (("40000\n", "76500\n"), "warn", "76 °C"),
        (("85100\n",), "fail", "85 °C"),
        (("nonsense\n",), "ok", "there is no sensor"),
        ((), "ok", "there is no sensor"),
    ],
)
def test_warmest_sensor_is_reported(
    tmp_path: Path, temperatures: tuple[str, ...], verdict: str, text: str
) -> None:
    finding = machine.check_temperature(sensors(tmp_path, *temperatures))

    assert (finding.verdict, finding.text) == (verdict, text)
    assert bool(finding.hint) == (verdict != "ok")


@pytest.mark.parametrize(
    ("bits", "verdict", "text"),
    [
        ("0\n", "ok", "never since the board started"),
        ("50005\n", "fail", "now: undervoltage, throttled"),
        ("80008\n", "warn", "now: temperature limit"),
        ("50000\n", "warn", "since the board started: undervoltage, throttled"),
    ],
)
def test_throttling_bits_are_reported(tmp_path: Path, bits: str, verdict: str, text: str) -> None:
    finding = machine.check_throttling(throttled(tmp_path, bits))

    assert (finding.verdict, finding.text) == (verdict, text)


def test_throttling_is_read_from_the_path_of_the_pi_5(tmp_path: Path) -> None:
    assert machine.check_throttling(throttled(tmp_path, "4", "soc@107c000000")).verdict == "fail"


def test_voltage_and_heat_have_different_hints(tmp_path: Path) -> None:
    power = machine.check_throttling(throttled(tmp_path / "power", "10000"))
    heat = machine.check_throttling(throttled(tmp_path / "heat", "80000"))

    assert "power supply" in power.hint
    assert "air" in heat.hint


@pytest.mark.parametrize(("alarm", "verdict"), [("0\n", "ok"), ("1\n", "warn")])
def test_debian_kernel_reports_only_the_voltage(tmp_path: Path, alarm: str, verdict: str) -> None:
    monitor(tmp_path, 0, "cpu_thermal", None)

    finding = machine.check_throttling(monitor(tmp_path, 1, "rpi_volt", alarm))

    assert finding.verdict == verdict
    assert "voltage" in finding.text


def test_machine_without_throttling_data_is_ok(tmp_path: Path) -> None:
    (tmp_path / "sys" / "class" / "hwmon" / "hwmon0").mkdir(parents=True)

    assert machine.check_throttling(tmp_path).verdict == "ok"


HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def proc(tmp_path: Path, swaps: str | None = None, pattern: str | None = None) -> Path:
    if swaps is not None:
        (tmp_path / "swaps").write_text(swaps, "utf-8")
    if pattern is not None:
        (tmp_path / "sys" / "kernel").mkdir(parents=True)
        (tmp_path / "sys" / "kernel" / "core_pattern").write_text(pattern, "utf-8")
    return tmp_path


@pytest.mark.parametrize("swaps", [HEAD, None])
def test_no_swap_is_ok(tmp_path: Path, swaps: str | None) -> None:
    assert machine.check_swap(proc(tmp_path, swaps)).verdict == "ok"


def test_swap_on_a_disk_warns(tmp_path: Path) -> None:
    finding = machine.check_swap(proc(tmp_path, HEAD + "/dev/sda2 partition 999 0 -2\n"))

    assert finding.verdict == "warn"
    assert "/dev/sda2" in finding.text
    assert "disk" in finding.text
    assert finding.facts == {"areas": 1, "in_memory": False}


def test_zram_swap_warning_does_not_mention_the_disk(tmp_path: Path) -> None:
    finding = machine.check_swap(proc(tmp_path, HEAD + "/dev/zram0 partition 999 0 100\n"))

    assert finding.verdict == "warn"
    assert "disk" not in finding.text


@pytest.mark.parametrize(
    "pattern", ["core\n", "|/bin/false\n", "|/usr/bin/false %p\n", "/var/core.%p\n", None]
)
def test_core_dumps_without_a_pipe_are_ok(tmp_path: Path, pattern: str | None) -> None:
    assert machine.check_core_dumps(proc(tmp_path, pattern=pattern)).verdict == "ok"


def test_core_dumps_piped_to_a_program_warn(tmp_path: Path) -> None:
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
def test_missing_memory_controller_warns(
    tmp_path: Path, controllers: str | None, verdict: str
) -> None:
    folder = tmp_path / "sys" / "fs" / "cgroup"
    folder.mkdir(parents=True)
    if controllers is not None:
        (folder / "cgroup.controllers").write_text(controllers, "utf-8")

    finding = machine.check_cgroup(tmp_path)

    assert finding.verdict == verdict
    assert ("cgroup_enable=memory" in finding.hint) == (verdict == "warn")


BUILT = datetime(2026, 3, 4, tzinfo=UTC)
NOW = BUILT + timedelta(days=30)


def check_clock(root: Path, now: datetime = NOW, *, synchronised: bool | None = True) -> Finding:
    return machine.check_clock(root, now, BUILT, lambda: synchronised)


def saved(root: Path, at: datetime) -> Path:
    file = root / "var" / "lib" / "systemd" / "timesync" / "clock"
    file.parent.mkdir(parents=True)
    file.touch()
    os.utime(file, (at.timestamp(), at.timestamp()))
    return root


def test_synchronised_clock_is_ok(tmp_path: Path) -> None:
    (tmp_path / "sys" / "class" / "rtc" / "rtc0").mkdir(parents=True)

    finding = check_clock(saved(tmp_path, NOW - timedelta(minutes=5)))

    assert (finding.verdict, finding.text) == ("ok", "2026-04-03 00:00 UTC, synchronised")
    assert finding.facts == {"rtc": True, "synchronised": True}


def test_clock_in_1970_fails_even_if_synchronised(tmp_path: Path) -> None:
    finding = check_clock(tmp_path, datetime(1970, 1, 1, tzinfo=UTC))

    assert finding.verdict == "fail"
    assert finding.text.startswith("1970-01-01")


def test_clock_that_jumped_back_warns(tmp_path: Path) -> None:
    finding = check_clock(saved(tmp_path, NOW + timedelta(hours=1)))

    assert finding.verdict == "warn"
    assert "jumped back" in finding.text


@pytest.mark.parametrize(("synchronised", "word"), [(False, "not synchronised"), (None, "unknown")])
def test_unsynchronised_clock_warns(
    tmp_path: Path, *, synchronised: bool | None, word: str
) -> None:
    finding = check_clock(tmp_path, synchronised=synchronised)

    assert finding.verdict == "warn"
    assert word in finding.text
    assert "battery" in finding.hint


def test_adjtimex_reports_synchronisation() -> None:
    assert machine.is_synchronised() in (True, False, None)
