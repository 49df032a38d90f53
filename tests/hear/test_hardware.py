"""Mute switch and LED as configured."""

import logging
from typing import Literal

import pytest

from listener.config import Config, LampSettings, MicrophoneSettings, MuteSettings
from listener.errors import ConfigError
from listener.hear.hardware import (
    build_checked_switch,
    build_lamp,
    build_switch,
    require_full_cover,
)
from listener.hear.indicators.led import NoLamp
from listener.hear.mute.switch import NoSwitch
from listener.system.sound_cards import SoundCard


def no_time() -> float:
    return 0.0


def test_a_live_microphone_needs_to_know_its_switch() -> None:
    with pytest.raises(ConfigError, match=r"mute\.switch is not set") as caught:
        build_switch(MuteSettings(), is_live=True, monotonic_s=no_time)

    assert '"none" for a device without a switch' in caught.value.hint


def test_a_recording_needs_no_switch(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(build_switch(MuteSettings(), is_live=False, monotonic_s=no_time), NoSwitch)
    assert caplog.records == []


def test_that_no_switch_is_fitted_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    settings = MuteSettings(switch="none")

    switch = build_switch(settings, is_live=True, monotonic_s=no_time)

    assert switch.about == "none"
    assert not switch.is_muted(0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no mute switch (mute.switch is none)" in caplog.records[0].message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (MuteSettings(switch="input", input="/dev/input/gone"), "cannot open /dev/input/gone"),
        (MuteSettings(switch="input", input="nobody's"), "there is no input device"),
        (
            MuteSettings(switch="gpio", chip="/dev/gone", line=27),
            "cannot use line 27 of /dev/gone",
        ),
    ],
)
@pytest.mark.parametrize("is_live", [True, False])
def test_a_switch_that_is_fitted_and_not_there_is_muted(
    settings: MuteSettings,
    said: str,
    caplog: pytest.LogCaptureFixture,
    *,
    is_live: bool,
) -> None:
    switch = build_switch(settings, is_live=is_live, monotonic_s=no_time)

    assert switch.about == settings.switch
    assert switch.is_muted(0)
    assert switch.filenos() == ()
    assert said in caplog.records[0].message


MEMS = SoundCard(1, "earmark", ())
WEBCAM = SoundCard(2, "Webcam", ("USB-Audio - HD Webcam",))


def settings_of(
    switch: Literal["input", "gpio", "none"] | None,
    device: str = "earmark_microphone",
    *,
    files: tuple[str, ...] = (),
    allow: bool = False,
) -> Config:
    return Config(
        microphone=MicrophoneSettings(device=device, files=files),
        mute=MuteSettings(switch=switch, line=27, other_microphones="allow" if allow else "refuse"),
    )


@pytest.mark.parametrize("switch", ["input", "gpio"])
def test_a_microphone_that_the_switch_does_not_cut_is_refused_by_name(
    switch: Literal["input", "gpio"],
) -> None:
    with pytest.raises(ConfigError, match=r"does not mute every .*: Webcam \(USB-Audio") as caught:
        require_full_cover(settings_of(switch), (MEMS, WEBCAM))

    assert "mute.other_microphones" in caught.value.hint


def test_where_the_card_is_not_named_each_of_several_is() -> None:
    with pytest.raises(ConfigError, match="earmark, Webcam"):
        require_full_cover(settings_of("input", "default"), (MEMS, WEBCAM))


def test_who_allows_another_microphone_is_told_of_it_at_each_start(
    caplog: pytest.LogCaptureFixture,
) -> None:
    require_full_cover(settings_of("input", allow=True), (MEMS, WEBCAM))

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Webcam" in caplog.records[0].message


@pytest.mark.parametrize(
    ("settings", "cards"),
    [
        (settings_of("input"), (MEMS,)),
        (settings_of("input"), ()),
        (settings_of("input", "default"), (WEBCAM,)),
        (settings_of("none"), (MEMS, WEBCAM)),
        (settings_of("input", files=("talk.flac",)), (MEMS, WEBCAM)),
    ],
)
def test_what_the_switch_cuts_or_nobody_claims_is_no_matter(
    settings: Config, cards: tuple[SoundCard, ...], caplog: pytest.LogCaptureFixture
) -> None:
    require_full_cover(settings, cards)

    assert caplog.records == []


def test_without_a_lamp_nothing_is_shown() -> None:
    assert isinstance(build_lamp(LampSettings(), no_time), NoLamp)


@pytest.mark.parametrize(
    "settings",
    [
        LampSettings(kind="gpio", chip="/dev/gone", line=12),
        LampSettings(kind="apa102", device="/dev/gone"),
    ],
)
def test_a_lamp_that_is_not_there_stops_nothing(
    settings: LampSettings, caplog: pytest.LogCaptureFixture
) -> None:
    lamp = build_lamp(settings, no_time)

    lamp.show("muted")
    lamp.close()

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "the lamp cannot show 'muted'" in caplog.records[0].message


def test_hear_gets_no_switch_where_that_does_not_cut_everything() -> None:
    with pytest.raises(ConfigError, match="does not mute"):
        build_checked_switch(settings_of("gpio"), (MEMS, WEBCAM), monotonic_s=no_time)

    assert build_checked_switch(settings_of("gpio"), (MEMS,), monotonic_s=no_time).about == "gpio"
