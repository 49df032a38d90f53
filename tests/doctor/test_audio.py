import os
import sys
from pathlib import Path
from typing import Literal

import pytest

from listener.config import Config, LampSettings, MicrophoneSettings, MuteSettings
from listener.doctor import audio
from listener.system.findings import Finding, to_json

MEMS = " 1 [earmark        ]: simple-card - earmark\n                      earmark\n"
WEBCAM = " 2 [Webcam         ]: USB-Audio - HD Webcam\n                      at usb-1.2\n"


def machine(root: Path, *cards: str) -> Path:
    asound = root / "proc" / "asound"
    asound.mkdir(parents=True)
    (asound / "cards").write_text("".join(cards), "utf-8")
    for card in cards:
        (asound / f"card{card.split()[0]}" / "pcm0c").mkdir(parents=True)
    return root


def settings(
    switch: Literal["input", "none"] = "input",
    other: Literal["refuse", "allow"] = "refuse",
    device: str = "earmark_microphone",
) -> Config:
    return Config(
        microphone=MicrophoneSettings(device=device),
        mute=MuteSettings(switch=switch, other_microphones=other),
    )


def test_single_card_is_ok(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path, MEMS), settings())

    assert finding.verdict == "ok"
    assert finding.facts == {"cards": 1, "others": 0}


@pytest.mark.parametrize(("other", "verdict"), [("refuse", "fail"), ("allow", "warn")])
def test_card_that_the_switch_does_not_cut_is_named(
    tmp_path: Path, other: Literal["refuse", "allow"], verdict: str
) -> None:
    finding = audio.check_cards(machine(tmp_path, MEMS, WEBCAM), settings(other=other))

    assert finding.verdict == verdict
    assert "Webcam (USB-Audio - HD Webcam)" in finding.text
    assert "earmark (" not in finding.text
    assert ("hear does not start" in finding.text) == (other == "refuse")


def test_several_cards_without_a_switch_warn(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path, MEMS, WEBCAM), settings("none"))

    assert finding.verdict == "warn"
    assert finding.hint == ""


def test_configured_device_without_a_card_is_reported(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path, WEBCAM), settings("none", device="jabra"))

    assert finding.verdict == "warn"
    assert "microphone.device" in finding.hint


def test_missing_card_warns_about_a_muted_usb_microphone(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path), settings())

    assert finding.verdict == "warn"
    assert "USB" in finding.hint


def test_overlay_card_without_a_driver_fails(tmp_path: Path) -> None:
    (tmp_path / "proc" / "device-tree" / "earmark-card").mkdir(parents=True)

    finding = audio.check_cards(machine(tmp_path), settings())

    assert finding.verdict == "fail"
    assert "dmesg" in finding.hint


def test_recordings_need_no_card(tmp_path: Path) -> None:
    recordings = Config(microphone=MicrophoneSettings(files=("talk.flac",)))

    assert audio.check_cards(tmp_path, recordings).verdict == "ok"


LED = LampSettings(kind="gpio", chip="/dev/gpiochip0", line=12)
ROW = LampSettings(kind="apa102", device="/dev/spidev0.1")


def device(root: Path, name: str, mode: int = 0o600) -> Path:
    (root / "dev").mkdir()
    (root / "dev" / name).touch(mode)
    return root


def test_lamp_none_is_ok(tmp_path: Path) -> None:
    assert audio.check_lamp(tmp_path, LampSettings()).verdict == "ok"


@pytest.mark.parametrize(("settings", "name"), [(LED, "gpiochip0"), (ROW, "spidev0.1")])
def test_lamp_with_its_device_is_ok(tmp_path: Path, settings: LampSettings, name: str) -> None:
    finding = audio.check_lamp(device(tmp_path, name), settings)

    assert finding.verdict == "ok"
    assert f"/dev/{name}" in finding.text


@pytest.mark.parametrize(
    ("settings", "hint"), [(LED, "correct lamp.chip"), (ROW, "add dtparam=spi=on to config.txt")]
)
def test_lamp_without_its_device_fails(tmp_path: Path, settings: LampSettings, hint: str) -> None:
    finding = audio.check_lamp(tmp_path, settings)

    assert (finding.verdict, finding.hint) == ("fail", hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every device")
def test_lamp_device_without_permission_warns(tmp_path: Path) -> None:
    assert audio.check_lamp(device(tmp_path, "gpiochip0", 0o400), LED).verdict == "warn"


FINDING = Finding(check="memory", verdict="ok", text="enough")


def program(*lines: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", "import os, sys\n" + "\n".join(lines)]


PRINT = f"print({to_json(FINDING)!r}, flush=True)"


def run_probe(*lines: str, prove_mute: bool = False) -> list[Finding]:
    settings = Config(microphone=MicrophoneSettings(device="kitchen"))
    return list(audio.check_microphone(settings, prove_mute=prove_mute, command=program(*lines)))


def test_findings_of_the_probe_are_yielded() -> None:
    assert run_probe("sys.stdin.read()", PRINT, PRINT) == [FINDING, FINDING]


def test_probe_receives_configuration_and_options() -> None:
    (finding,) = run_probe(
        "text = sys.stdin.read()",
        "assert 'kitchen' in text and sys.argv[1:] == ['--prove-mute']",
        PRINT,
        prove_mute=True,
    )

    assert finding == FINDING


@pytest.mark.parametrize(
    "lines",
    [
        ("sys.stdin.read()", PRINT, "os.abort()"),
        ("sys.stdin.read()", PRINT, "sys.exit(3)"),
        (
            "sys.stdin.read()",
            PRINT,
            "print('Traceback', flush=True)",
            "os.read(0, 1)",
            "os.abort()",
        ),
        ("sys.stdin.read()", PRINT, "print('x' * 9_999, flush=True)", "os.abort()"),
    ],
)
def test_failing_probe_is_a_finding(lines: tuple[str, ...]) -> None:
    first, last = run_probe(*lines)

    assert first == FINDING
    assert (last.check, last.verdict) == ("microphone", "fail")


def test_probe_that_ends_before_reading_is_a_finding() -> None:
    (finding,) = run_probe("sys.exit(1)")

    assert finding.verdict == "fail"
