from pathlib import Path

import pytest

from listener.doctor import board


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
def test_the_warmest_sensor_counts(
    tmp_path: Path, temperatures: tuple[str, ...], verdict: str, text: str
) -> None:
    finding = board.check_temperature(sensors(tmp_path, *temperatures))

    assert (finding.verdict, finding.text) == (verdict, text)
    assert bool(finding.hint) == (verdict != "ok")


@pytest.mark.parametrize(
    ("bits", "verdict", "text"),
    [
        ("0\n", "ok", "never since the board started"),
        ("50005\n", "fail", "now: too little voltage, throttled"),
        ("80008\n", "warn", "now: too warm"),
        ("50000\n", "warn", "since the board started: too little voltage, throttled"),
    ],
)
def test_what_slows_the_board_down_is_told(
    tmp_path: Path, bits: str, verdict: str, text: str
) -> None:
    finding = board.check_throttling(throttled(tmp_path, bits))

    assert (finding.verdict, finding.text) == (verdict, text)


def test_the_pi_5_tells_it_elsewhere(tmp_path: Path) -> None:
    assert board.check_throttling(throttled(tmp_path, "4", "soc@107c000000")).verdict == "fail"


def test_voltage_and_heat_have_hints_of_their_own(tmp_path: Path) -> None:
    power = board.check_throttling(throttled(tmp_path / "power", "10000"))
    heat = board.check_throttling(throttled(tmp_path / "heat", "80000"))

    assert "power supply" in power.hint
    assert "air" in heat.hint


@pytest.mark.parametrize(("alarm", "verdict"), [("0\n", "ok"), ("1\n", "warn")])
def test_debians_kernels_tell_of_the_voltage_alone(
    tmp_path: Path, alarm: str, verdict: str
) -> None:
    monitor(tmp_path, 0, "cpu_thermal", None)

    finding = board.check_throttling(monitor(tmp_path, 1, "rpi_volt", alarm))

    assert finding.verdict == verdict
    assert "voltage" in finding.text


def test_a_machine_that_tells_nothing_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "sys" / "class" / "hwmon" / "hwmon0").mkdir(parents=True)

    assert board.check_throttling(tmp_path).verdict == "ok"
