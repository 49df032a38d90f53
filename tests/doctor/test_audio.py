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


def test_one_card_and_no_other_is_well(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path, MEMS), settings())

    assert finding.verdict == "ok"
    assert finding.facts == {"cards": 1, "others": 0}


@pytest.mark.parametrize(("other", "verdict"), [("refuse", "fail"), ("allow", "warn")])
def test_a_card_that_the_switch_does_not_cut_is_named(
    tmp_path: Path, other: Literal["refuse", "allow"], verdict: str
) -> None:
    finding = audio.check_cards(machine(tmp_path, MEMS, WEBCAM), settings(other=other))

    assert finding.verdict == verdict
    assert "Webcam (USB-Audio - HD Webcam)" in finding.text
    assert "earmark (" not in finding.text
    assert ("hear does not start" in finding.text) == (other == "refuse")


def test_without_a_switch_any_of_several_is_a_warning(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path, MEMS, WEBCAM), settings("none"))

    assert finding.verdict == "warn"
    assert finding.hint == ""


def test_settings_that_name_no_card_of_these_say_so(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path, WEBCAM), settings("none", device="jabra"))

    assert finding.verdict == "warn"
    assert "microphone.device" in finding.hint


def test_no_card_may_be_what_the_switch_is_for(tmp_path: Path) -> None:
    finding = audio.check_cards(machine(tmp_path), settings())

    assert finding.verdict == "warn"
    assert "USB" in finding.hint


def test_the_overlays_card_that_is_not_there_fails(tmp_path: Path) -> None:
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


def test_none_is_none(tmp_path: Path) -> None:
    assert audio.check_lamp(tmp_path, LampSettings()).verdict == "ok"


@pytest.mark.parametrize(("settings", "name"), [(LED, "gpiochip0"), (ROW, "spidev0.1")])
def test_a_lamp_whose_device_is_there_is_well(
    tmp_path: Path, settings: LampSettings, name: str
) -> None:
    finding = audio.check_lamp(device(tmp_path, name), settings)

    assert finding.verdict == "ok"
    assert f"/dev/{name}" in finding.text


@pytest.mark.parametrize(
    ("settings", "hint"), [(LED, "lamp.chip"), (ROW, "dtparam=spi=on in config.txt")]
)
def test_a_lamp_whose_device_is_missing_fails(
    tmp_path: Path, settings: LampSettings, hint: str
) -> None:
    finding = audio.check_lamp(tmp_path, settings)

    assert (finding.verdict, finding.hint) == ("fail", hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every device")
def test_a_device_that_this_user_may_not_use_is_a_warning(tmp_path: Path) -> None:
    assert audio.check_lamp(device(tmp_path, "gpiochip0", 0o400), LED).verdict == "warn"


FINDING = Finding(check="memory", verdict="ok", text="enough")


def program(*lines: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", "import os, sys\n" + "\n".join(lines)]


SAYS = f"print({to_json(FINDING)!r}, flush=True)"


def found(*lines: str, prove_mute: bool = False) -> list[Finding]:
    settings = Config(microphone=MicrophoneSettings(device="kitchen"))
    return list(audio.check_microphone(settings, prove_mute=prove_mute, command=program(*lines)))


def test_findings_are_handed_on() -> None:
    assert found("sys.stdin.read()", SAYS, SAYS) == [FINDING, FINDING]


def test_the_settings_go_in_and_the_question_too() -> None:
    (finding,) = found(
        "text = sys.stdin.read()",
        "assert 'kitchen' in text and sys.argv[1:] == ['--prove-mute']",
        SAYS,
        prove_mute=True,
    )

    assert finding == FINDING


@pytest.mark.parametrize(
    "lines",
    [
        ("sys.stdin.read()", SAYS, "os.abort()"),
        ("sys.stdin.read()", SAYS, "sys.exit(3)"),
        ("sys.stdin.read()", SAYS, "print('Traceback', flush=True)", "os.read(0, 1)", "os.abort()"),
        ("sys.stdin.read()", SAYS, "print('x' * 9_999, flush=True)", "os.abort()"),
    ],
)
def test_a_process_that_breaks_off_is_itself_a_finding(lines: tuple[str, ...]) -> None:
    first, last = found(*lines)

    assert first == FINDING
    assert (last.check, last.verdict) == ("microphone", "fail")


def test_a_process_that_ends_before_it_reads_is_one_too() -> None:
    (finding,) = found("sys.exit(1)")

    assert finding.verdict == "fail"
