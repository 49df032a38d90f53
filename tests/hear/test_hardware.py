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


def test_live_microphone_requires_mute_switch_setting() -> None:
    with pytest.raises(ConfigError, match=r"mute\.switch is not set") as caught:
        build_switch(MuteSettings(), is_live=True, monotonic_s=no_time)

    assert '"none" for a device without a switch' in caught.value.hint


def test_a_recording_needs_no_switch(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(build_switch(MuteSettings(), is_live=False, monotonic_s=no_time), NoSwitch)
    assert caplog.records == []


def test_device_without_a_switch_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
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
def test_missing_switch_means_muted(
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
def test_microphone_not_muted_by_the_switch_is_refused(
    switch: Literal["input", "gpio"],
) -> None:
    with pytest.raises(ConfigError, match=r"does not mute every .*: Webcam \(USB-Audio") as caught:
        require_full_cover(settings_of(switch), (MEMS, WEBCAM))

    assert "mute.other_microphones" in caught.value.hint


def test_all_cards_are_listed_without_a_configured_device() -> None:
    with pytest.raises(ConfigError, match="earmark, Webcam"):
        require_full_cover(settings_of("input", "default"), (MEMS, WEBCAM))


def test_allowed_other_microphone_logs_a_warning(
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
def test_fully_muted_or_switchless_devices_log_nothing(
    settings: Config, cards: tuple[SoundCard, ...], caplog: pytest.LogCaptureFixture
) -> None:
    require_full_cover(settings, cards)

    assert caplog.records == []


def test_device_without_an_led_shows_nothing() -> None:
    assert isinstance(build_lamp(LampSettings(), no_time), NoLamp)


@pytest.mark.parametrize(
    "settings",
    [
        LampSettings(kind="gpio", chip="/dev/gone", line=12),
        LampSettings(kind="apa102", device="/dev/gone"),
    ],
)
def test_missing_led_is_logged_and_ignored(
    settings: LampSettings, caplog: pytest.LogCaptureFixture
) -> None:
    lamp = build_lamp(settings, no_time)

    lamp.show("muted")
    lamp.close()

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "the lamp cannot show 'muted'" in caplog.records[0].message


def test_checked_switch_refuses_an_unmuted_microphone() -> None:
    with pytest.raises(ConfigError, match="does not mute"):
        build_checked_switch(settings_of("gpio"), (MEMS, WEBCAM), monotonic_s=no_time)

    assert build_checked_switch(settings_of("gpio"), (MEMS,), monotonic_s=no_time).about == "gpio"
