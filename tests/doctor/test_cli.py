import argparse
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from listener.cli import doctor
from listener.config import (
    AttributionSettings,
    BrokerSettings,
    Config,
    MicrophoneSettings,
    MuteSettings,
)
from listener.errors import UsageError
from listener.household.state import HouseholdStore
from listener.storage.atomic import single_instance
from listener.storage.home import Home
from tests.conftest import Household

# A recording stands in for the microphone, so that nothing is listened to.
FILES = MicrophoneSettings(files=("talk.flac",))


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return parser.parse_args(words)


def settings_of(household: Household, port: int, keeper: str = "ada") -> Config:
    return Config(
        home=str(household.home.path),
        microphone=FILES,
        attribution=AttributionSettings(keeper=keeper),
        broker=BrokerSettings(port=port),
    )


def test_one_failure_exits_with_1_after_all_checks(
    household: Household, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code = doctor.run(arguments("--json"), settings_of(household, free_port))

    findings = {
        line["check"]: line for line in map(json.loads, capsys.readouterr().out.split("\n")[:-1])
    }
    assert code == 1
    failed = [name for name, line in findings.items() if line["verdict"] == "fail"]
    built_s = Path(doctor.__file__).stat().st_mtime
    assert failed == (["broker", "clock"] if time.time() < built_s else ["broker"])
    assert set(findings) == {
        *("confinement", "memory", "microphone", "keeper", "key", "models"),
        *("spool", "voice", "broker", "boot", "overlay", "card", "lamp", "clock"),
        *("temperature", "throttling", "swap", "cgroup", "core", "sandbox", "telemetry"),
    }


def test_text_output_has_hints(
    household: Household, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code = doctor.run(arguments(), settings_of(household, free_port, keeper="eve"))

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert any(line.startswith("fail  keeper") for line in lines)
    assert any("earmark owner add eve" in line for line in lines)


def test_prove_mute_runs_no_other_check(
    household: Household, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = msgspec.structs.replace(
        settings_of(household, free_port), microphone=MicrophoneSettings()
    )

    code = doctor.run(arguments("--prove-mute", "--json", "--device", "no such card"), settings)

    captured = capsys.readouterr()
    checks = [json.loads(line)["check"] for line in captured.out.splitlines()]
    assert code == 1
    assert "speak" in captured.err
    assert not {"keeper", "broker", "spool"} & set(checks)


def test_throw_switch_without_a_switch_fails(
    household: Household, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = msgspec.structs.replace(
        settings_of(household, free_port), mute=MuteSettings(switch="none")
    )

    code = doctor.run(arguments("--throw-switch", "--json"), settings)

    captured = capsys.readouterr()
    checks = [json.loads(line)["check"] for line in captured.out.splitlines()]
    assert code == 1
    assert "move the switch" in captured.err
    assert checks == ["confinement", "switch"]


def test_negative_channel_is_a_usage_error(household: Household, free_port: int) -> None:
    with pytest.raises(UsageError, match="channels start at 0"):
        doctor.run(arguments("--channel", "-1"), settings_of(household, free_port))


WANTS = "etc/systemd/system/multi-user.target.wants"


def install(monkeypatch: pytest.MonkeyPatch, root: Path, *units: str) -> Path:
    """Enable services below a root that doctor takes for this computer's; return the root."""
    (root / WANTS).mkdir(parents=True)
    (root / "etc" / "earmark").mkdir()
    for unit in units:
        (root / WANTS / f"{unit}.service").symlink_to("/nowhere")
    monkeypatch.setattr(doctor, "ROOT", root)
    return root


def write_hub(root: Path, household: Household, port: int) -> None:
    (household.home.path / "archive").mkdir()
    (root / "etc" / "earmark" / "archive.toml").write_text(
        f'home = "{household.home.path}"\nbroker.port = {port}\n'
    )


def run_json(
    settings: Config, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, dict[str, Any]]:
    doctor.run(arguments("--json", *words), settings)
    lines = capsys.readouterr().out.splitlines()
    return {line["check"]: line for line in map(json.loads, lines)}


def test_hub_has_no_check_of_a_speaker(
    household: Household,
    free_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = install(monkeypatch, tmp_path / "root", "earmark-archive")
    write_hub(root, household, free_port)
    # What main passes where /etc/earmark/earmark.toml is missing.
    settings = Config(home=str(tmp_path / "user"))

    findings = run_json(settings, capsys)

    machine = {"clock", "temperature", "throttling", "swap", "cgroup", "core", "sandbox"}
    assert set(findings) == machine | {
        *("archive-service", "archive", "device-limits", "broker"),
    }
    roles = {name: line["facts"].get("role") for name, line in findings.items()}
    assert {name for name, role in roles.items() if role == "hub"} == set(findings) - machine
    assert findings["archive-service"]["verdict"] == "fail"
    assert f":{free_port}" in findings["broker"]["text"]
    assert not (tmp_path / "user").exists()


@pytest.mark.usefixtures("any_date")
def test_household_of_a_hub_is_checked(
    household: Household,
    free_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = install(monkeypatch, tmp_path / "root", "earmark-archive")
    write_hub(root, household, free_port)
    HouseholdStore(household.home.path).set_up(
        lambda registry: msgspec.structs.replace(registry, hosts=("localhost",))
    )

    with single_instance(household.home.path, "archive"):
        findings = run_json(Config(home=str(tmp_path / "user")), capsys)

    assert findings["archive-service"]["verdict"] == "ok"
    assert findings["household"]["verdict"] == "ok"
    assert findings["household"]["facts"]["due"] == 0
    assert "archive.port is not set" in findings["archive-port"]["text"]


def test_two_roles_are_named_in_each_line(
    household: Household,
    free_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = install(monkeypatch, tmp_path / "root", "earmark-archive", "earmark-hear")
    write_hub(root, household, free_port)

    code = doctor.run(arguments(), settings_of(household, free_port))

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[0] == "roles: speaker, hub"
    broker = [line for line in lines if line.startswith("fail  broker")]
    assert [line.split()[2] for line in broker] == ["speaker:", "hub:"]
    assert any(line.startswith("fail  archive-service hub: ") for line in lines)


def test_one_role_is_named_once(
    household: Household, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor.run(arguments(), settings_of(household, free_port))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "role: speaker"
    assert not any("speaker: " in line for line in lines)


@pytest.mark.parametrize(
    "words",
    [("--prove-mute",), ("--throw-switch",), ("--device", "usb"), ("--channel", "0")],
)
def test_option_for_a_speaker_is_an_error_on_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    install(monkeypatch, tmp_path / "root", "earmark-archive")

    with pytest.raises(UsageError, match=f"{words[0]}: this computer is a hub"):
        doctor.run(arguments(*words), Config(home=str(tmp_path)))


@pytest.mark.parametrize("text", [None, "broker.port = 1\n", "broker.prt = 1\n"])
def test_hub_without_a_valid_configuration_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str | None,
) -> None:
    root = install(monkeypatch, tmp_path / "root", "earmark-archive")
    if text is not None:
        (root / "etc" / "earmark" / "archive.toml").write_text(text)

    findings = run_json(Config(home=str(tmp_path)), capsys)

    assert findings["config"]["verdict"] == "fail"
    assert "archive.toml" in findings["config"]["text"]
    assert findings["config"]["facts"] == {"role": "hub"}


def test_named_configuration_is_checked_for_what_it_is_used_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_port: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(monkeypatch, tmp_path / "root", "earmark-hear")
    (tmp_path / "assist").mkdir()
    Home(tmp_path / "assist").assist_key()
    settings = Config(home=str(tmp_path / "assist"), broker=BrokerSettings(port=free_port))
    words = arguments("--json")
    words.config = "/etc/earmark/assist.toml"

    doctor.run(words, settings)

    lines = map(json.loads, capsys.readouterr().out.splitlines())
    assert {line["facts"].get("role") for line in lines} == {"assist", None}
