from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from listener.doctor import systemd

FIRM = {
    unit: {"LoadState": "loaded", "User": unit.removesuffix(".service"), **wanted}
    for unit, wanted in systemd.WANTED.items()
}
QUIET = {**FIRM[systemd.HEAR], "Environment": f"OMP_NUM_THREADS=1 {systemd.TELEMETRY_OFF}"}
SYSTEMD = Path(__file__).parents[2] / "systemd"


def installed(name: str) -> str:
    assert name == "onnxruntime"
    return "1.31.1"


def absent(name: str) -> str:
    raise PackageNotFoundError(name)


def process(root: Path, pid: str, *environ: str) -> Path:
    (root / "proc" / pid).mkdir(parents=True)
    (root / "proc" / pid / "environ").write_text("\0".join(environ), "utf-8")
    return root


def test_units_as_they_must_be_are_well() -> None:
    hear, send = systemd.check_sandbox(FIRM.__getitem__)

    assert (hear.verdict, send.verdict) == ("ok", "ok")
    assert hear.facts == {"unit": "earmark-hear", "loose": 0}


@pytest.mark.parametrize(
    ("unit", "name", "value"),
    [
        (unit, name, value)
        for unit, wanted in systemd.WANTED.items()
        for name, value in ({**dict.fromkeys(wanted, "no"), "User": ""}).items()
    ],
)
def test_what_a_drop_in_took_back_fails_by_name(unit: str, name: str, value: str) -> None:
    def ask(asked: str) -> Mapping[str, str]:
        return {**FIRM[asked], name: value} if asked == unit else FIRM[asked]

    [finding] = [each for each in systemd.check_sandbox(ask) if each.verdict != "ok"]

    assert finding.verdict == "fail"
    assert name in finding.text
    assert unit in finding.hint


@pytest.mark.parametrize("has", [{}, {"LoadState": "not-found"}])
def test_without_services_the_fence_is_hears_own(has: Mapping[str, str]) -> None:
    for finding in systemd.check_sandbox(lambda _: has):
        assert finding.verdict == "warn"
        assert "no service here" in finding.text


@pytest.mark.parametrize("unit", systemd.WANTED)
def test_what_is_wanted_is_what_our_units_say(unit: str) -> None:
    lines = (SYSTEMD / unit).read_text("utf-8").splitlines()

    for name, value in systemd.WANTED[unit].items():
        assert f"{name}={value}" in lines


def test_where_no_systemd_answers_nothing_is_known() -> None:
    assert systemd.show_unit(systemd.HEAR).get("LoadState", "not-found") in {"loaded", "not-found"}


def test_telemetry_is_off_twice_where_there_is_a_service(tmp_path: Path) -> None:
    root = process(tmp_path, "77", "HOME=/", systemd.TELEMETRY_OFF)

    finding = systemd.check_telemetry(root, lambda _: {**QUIET, "MainPID": "77"}, installed)

    assert finding.verdict == "ok"
    assert "its service" in finding.text


@pytest.mark.parametrize("pid", ["0", "", "78"])
def test_a_hear_that_nobody_may_look_into_is_no_failure(tmp_path: Path, pid: str) -> None:
    assert (
        systemd.check_telemetry(tmp_path, lambda _: {**QUIET, "MainPID": pid}, installed).verdict
        == "ok"
    )


def test_a_service_that_does_not_switch_it_off_is_a_warning(tmp_path: Path) -> None:
    finding = systemd.check_telemetry(tmp_path, FIRM.__getitem__, installed)

    assert finding.verdict == "warn"
    assert systemd.TELEMETRY_OFF in finding.hint


def test_a_hear_that_was_started_otherwise_is_a_warning(tmp_path: Path) -> None:
    root = process(tmp_path, "77", "HOME=/")

    finding = systemd.check_telemetry(root, lambda _: {**QUIET, "MainPID": "77"}, installed)

    assert finding.verdict == "warn"
    assert "systemctl restart" in finding.hint


def test_without_a_service_hear_switches_it_off(tmp_path: Path) -> None:
    finding = systemd.check_telemetry(tmp_path, lambda _: {}, installed)

    assert finding.verdict == "ok"
    assert "by hear itself" in finding.text


def test_what_is_not_installed_reports_nothing(tmp_path: Path) -> None:
    assert systemd.check_telemetry(tmp_path, lambda _: {}, absent).verdict == "ok"
