from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from listener.doctor import systemd

FIRM = {
    unit: {"LoadState": "loaded", "MainPID": "77", "User": unit.removesuffix(".service"), **wanted}
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


def test_units_with_all_restrictions_are_ok() -> None:
    findings = list(systemd.check_sandbox(FIRM.__getitem__))

    assert [each.verdict for each in findings] == ["ok"] * 5
    assert [each.facts for each in findings] == [
        {"unit": f"earmark-{verb}", "loose": 0}
        for verb in ("hear", "send", "play", "archive", "assist")
    ]


@pytest.mark.parametrize("pid", ["0", ""])
def test_play_archive_and_assist_are_checked_where_they_run(pid: str) -> None:
    def ask(unit: str) -> Mapping[str, str]:
        return {**FIRM[unit], "MainPID": pid, "User": "root"}

    units = [each.facts["unit"] for each in systemd.check_sandbox(ask)]

    assert units == ["earmark-hear", "earmark-send"]


def test_only_required_services_are_checked_if_none_runs() -> None:
    def ask(unit: str) -> Mapping[str, str]:
        return {**FIRM[unit], "MainPID": "0"}

    findings = systemd.check_sandbox(ask, required=[systemd.ARCHIVE])

    assert [each.facts["unit"] for each in findings] == ["earmark-archive"]


@pytest.mark.parametrize(
    ("unit", "name", "value"),
    [
        (unit, name, value)
        for unit, wanted in systemd.WANTED.items()
        for name, value in ({**dict.fromkeys(wanted, "no"), "User": ""}).items()
    ],
)
def test_restriction_overridden_by_a_drop_in_fails(unit: str, name: str, value: str) -> None:
    def ask(unit_name: str) -> Mapping[str, str]:
        return {**FIRM[unit_name], name: value} if unit_name == unit else FIRM[unit_name]

    [finding] = [each for each in systemd.check_sandbox(ask) if each.verdict != "ok"]

    assert finding.verdict == "fail"
    assert name in finding.text
    assert unit in finding.hint


@pytest.mark.parametrize("has", [{}, {"LoadState": "not-found"}])
def test_missing_services_warn(has: Mapping[str, str]) -> None:
    findings = list(systemd.check_sandbox(lambda _: has))

    assert len(findings) == 2
    for finding in findings:
        assert finding.verdict == "warn"
        assert "not a service here" in finding.text


@pytest.mark.parametrize("unit", systemd.WANTED)
def test_required_restrictions_equal_the_units(unit: str) -> None:
    lines = (SYSTEMD / unit).read_text("utf-8").splitlines()

    for name, value in systemd.WANTED[unit].items():
        assert f"{name}={value}" in lines


def test_missing_systemctl_gives_no_properties() -> None:
    assert systemd.show_unit(systemd.HEAR).get("LoadState", "not-found") in {"loaded", "not-found"}


def test_telemetry_is_off_in_hear_and_its_service(tmp_path: Path) -> None:
    root = process(tmp_path, "77", "HOME=/", systemd.TELEMETRY_OFF)

    finding = systemd.check_telemetry(root, lambda _: {**QUIET, "MainPID": "77"}, installed)

    assert finding.verdict == "ok"
    assert "its service" in finding.text


@pytest.mark.parametrize("pid", ["0", "", "78"])
def test_unreadable_process_environment_is_ok(tmp_path: Path, pid: str) -> None:
    assert (
        systemd.check_telemetry(tmp_path, lambda _: {**QUIET, "MainPID": pid}, installed).verdict
        == "ok"
    )


def test_service_without_the_telemetry_variable_warns(tmp_path: Path) -> None:
    finding = systemd.check_telemetry(tmp_path, FIRM.__getitem__, installed)

    assert finding.verdict == "warn"
    assert systemd.TELEMETRY_OFF in finding.hint


def test_hear_started_without_the_variable_warns(tmp_path: Path) -> None:
    root = process(tmp_path, "77", "HOME=/")

    finding = systemd.check_telemetry(root, lambda _: {**QUIET, "MainPID": "77"}, installed)

    assert finding.verdict == "warn"
    assert "systemctl restart" in finding.hint


def test_telemetry_is_off_without_a_service(tmp_path: Path) -> None:
    finding = systemd.check_telemetry(tmp_path, lambda _: {}, installed)

    assert finding.verdict == "ok"
    assert "by hear itself" in finding.text


def test_missing_onnxruntime_has_no_telemetry(tmp_path: Path) -> None:
    assert systemd.check_telemetry(tmp_path, lambda _: {}, absent).verdict == "ok"
