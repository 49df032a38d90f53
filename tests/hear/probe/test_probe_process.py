"""Findings of the probe process without a microphone; tests/system runs it with one."""

import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from listener.config import Config, MicrophoneSettings, MuteSettings
from listener.hear.probe import probe_process
from listener.system.findings import Finding, from_json


def run_probe(settings: Config, *options: str) -> dict[str, Finding]:
    """Run the process as `earmark doctor` does; it confines itself for good, so not in pytest's."""
    process = subprocess.run(
        [sys.executable, "-m", "listener.hear.probe.probe_process", *options],
        input=msgspec.json.encode(settings),
        capture_output=True,
        check=True,
    )
    return {finding.check: finding for finding in map(from_json, process.stdout.splitlines())}


def test_recordings_instead_of_a_microphone_are_a_warning() -> None:
    checks = run_probe(Config(microphone=MicrophoneSettings(files=("talk.flac",))))

    assert set(checks) == {"confinement", "memory", "microphone"}
    assert checks["confinement"].verdict == "ok"
    assert checks["microphone"].verdict == "warn"


@pytest.mark.system
def test_missing_device_fails_and_the_other_checks_run(tmp_path: Path) -> None:
    checks = run_probe(
        Config(
            home=str(tmp_path),
            microphone=MicrophoneSettings(device="no such card"),
            mute=MuteSettings(switch="none"),
        )
    )

    assert checks["portaudio"].verdict == "ok"
    assert checks["device"].verdict == "fail"
    assert checks["microphone"].verdict == "fail"
    assert "no such card" in checks["microphone"].text


class FakeSoundDevice:
    """Fake of sounddevice: the part that lists devices."""

    class PortAudioError(Exception):
        pass

    class Default:
        device = (0, 0)

    default = Default()

    def query_devices(self) -> list[dict[str, object]]:
        return [
            {"name": f"USB Mic {n}", "max_input_channels": n, "default_samplerate": 48_000.0}
            for n in (1, 2)
        ]

    def check_input_settings(
        self, *, device: int, channels: int, dtype: str, samplerate: int
    ) -> None:
        assert (channels, dtype, samplerate) == (1, "int16", 16_000)
        if device:
            raise FakeSoundDevice.PortAudioError


def test_devices_are_listed_with_their_rates_and_the_chosen_one() -> None:
    first, second, third = probe_process.check_devices(
        FakeSoundDevice(), MicrophoneSettings(device="usb")
    )

    assert first.facts == {
        "index": 0,
        "name": "USB Mic 1",
        "channels": 1,
        "rate_hz": 48_000,
        "gives_16_khz": True,
        "chosen": True,
    }
    assert "resampled" in second.text
    assert not second.facts["chosen"]
    assert (third.verdict, third.text) == ("warn", "usb matches 2 devices; the first is used")


@pytest.mark.parametrize(
    ("limit_bytes", "is_root", "verdict", "word"),
    [
        (resource.RLIM_INFINITY, False, "ok", "including the microphone process"),
        (0, True, "ok", "including the microphone process"),
        (8 << 20, False, "ok", "the microphone process cannot"),
        (64 << 10, False, "fail", "must be locked"),
    ],
)
def test_memory_lock_limit_decides_the_verdict(
    *, limit_bytes: int, is_root: bool, verdict: str, word: str
) -> None:
    finding = probe_process.check_memory(Config().clip, limit_bytes, is_root=is_root)

    assert finding.verdict == verdict
    assert word in finding.text
    assert int(finding.facts["needed_kib"]) > 1_000
