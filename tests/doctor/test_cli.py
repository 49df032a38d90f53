import argparse
import json
import time
from pathlib import Path

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
