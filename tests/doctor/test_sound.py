from pathlib import Path
from typing import Literal

import pytest

from listener.config import Config, MicrophoneSettings, MuteSettings
from listener.doctor import sound

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
    finding = sound.check_cards(machine(tmp_path, MEMS), settings())

    assert finding.verdict == "ok"
    assert finding.facts == {"cards": 1, "others": 0}


@pytest.mark.parametrize(("other", "verdict"), [("refuse", "fail"), ("allow", "warn")])
def test_a_card_that_the_switch_does_not_cut_is_named(
    tmp_path: Path, other: Literal["refuse", "allow"], verdict: str
) -> None:
    finding = sound.check_cards(machine(tmp_path, MEMS, WEBCAM), settings(other=other))

    assert finding.verdict == verdict
    assert "Webcam (USB-Audio - HD Webcam)" in finding.text
    assert "earmark (" not in finding.text
    assert ("hear does not start" in finding.text) == (other == "refuse")


def test_without_a_switch_any_of_several_is_a_warning(tmp_path: Path) -> None:
    finding = sound.check_cards(machine(tmp_path, MEMS, WEBCAM), settings("none"))

    assert finding.verdict == "warn"
    assert finding.hint == ""


def test_settings_that_name_no_card_of_these_say_so(tmp_path: Path) -> None:
    finding = sound.check_cards(machine(tmp_path, WEBCAM), settings("none", device="jabra"))

    assert finding.verdict == "warn"
    assert "microphone.device" in finding.hint


def test_no_card_may_be_what_the_switch_is_for(tmp_path: Path) -> None:
    finding = sound.check_cards(machine(tmp_path), settings())

    assert finding.verdict == "warn"
    assert "USB" in finding.hint


def test_the_overlays_card_that_is_not_there_fails(tmp_path: Path) -> None:
    (tmp_path / "proc" / "device-tree" / "earmark-card").mkdir(parents=True)

    finding = sound.check_cards(machine(tmp_path), settings())

    assert finding.verdict == "fail"
    assert "dmesg" in finding.hint


def test_recordings_need_no_card(tmp_path: Path) -> None:
    recordings = Config(microphone=MicrophoneSettings(files=("talk.flac",)))

    assert sound.check_cards(tmp_path, recordings).verdict == "ok"
