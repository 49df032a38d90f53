"""What is fitted, as the settings say."""

import logging

import pytest

from listener.config import LampSettings, MuteSettings
from listener.errors import ConfigError
from listener.hear.fitting import fitted_lamp, fitted_switch
from listener.hear.lamp import NoLamp
from listener.hear.mute import NoSwitch


def no_time() -> float:
    return 0.0


def test_a_live_microphone_needs_to_know_its_switch() -> None:
    with pytest.raises(ConfigError, match=r"mute\.switch is not set") as caught:
        fitted_switch(MuteSettings(), is_live=True, monotonic_s=no_time)

    assert '"none" where there is none' in caught.value.hint


def test_a_recording_needs_no_switch(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(fitted_switch(MuteSettings(), is_live=False, monotonic_s=no_time), NoSwitch)
    assert caplog.records == []


def test_that_no_switch_is_fitted_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    settings = MuteSettings(switch="none")

    switch = fitted_switch(settings, is_live=True, monotonic_s=no_time)

    assert switch.about == "none"
    assert not switch.is_shut(0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no mute switch is fitted" in caplog.records[0].message


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
    is_live: bool,  # noqa: FBT001 - a parameter of the test
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch = fitted_switch(settings, is_live=is_live, monotonic_s=no_time)

    assert switch.about == settings.switch
    assert switch.is_shut(0)
    assert switch.filenos() == ()
    assert said in caplog.records[0].message


def test_without_a_lamp_nothing_is_shown() -> None:
    assert isinstance(fitted_lamp(LampSettings(), no_time), NoLamp)


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
    lamp = fitted_lamp(settings, no_time)

    lamp.show("muted")
    lamp.close()

    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "the lamp cannot show 'muted'" in caplog.records[0].message
