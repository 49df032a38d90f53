"""What a configuration makes of recogniser, agent and voices."""

from pathlib import Path
from typing import Any

import pytest

from listener.assist.build import build_abilities
from listener.assist.home_assistant import HomeAssistantRecogniser, HomeAssistantVoice
from listener.assist.speech import ProgramVoice
from listener.assist.understanding.timer_agent import TimerAgent
from listener.assist.wyoming import WyomingRecogniser
from listener.config import AssistSettings
from listener.errors import ConfigError


def settings(tmp_path: Path, **fields: Any) -> AssistSettings:  # noqa: ANN401 - of any type
    token = tmp_path / "token"
    token.write_text("x")
    token.chmod(0o600)
    return AssistSettings(token_file=str(token), **fields)


def test_home_assistant_is_the_default_with_our_own_timers(tmp_path: Path) -> None:
    made = build_abilities(settings(tmp_path), tmp_path)

    assert isinstance(made.recogniser, HomeAssistantRecogniser)
    assert isinstance(made.agent, TimerAgent)
    assert made.announcements is made.agent
    assert [type(voice) for voice in made.voices] == [HomeAssistantVoice, ProgramVoice]
    assert made.prepare is not None


def test_language_without_sentences_has_no_timers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = build_abilities(settings(tmp_path, language="xx"), tmp_path)

    assert made.announcements is None
    assert "there are no timers" in caplog.text


@pytest.mark.parametrize(
    ("voice", "kinds"),
    [("home-assistant", [HomeAssistantVoice]), ("program", [ProgramVoice]), ("none", [])],
)
def test_wyoming_and_voices_are_chosen(tmp_path: Path, voice: str, kinds: list[type]) -> None:
    made = build_abilities(settings(tmp_path, recogniser="wyoming", voice=voice), tmp_path)

    assert isinstance(made.recogniser, WyomingRecogniser)
    assert [type(one) for one in made.voices] == kinds


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authority_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ConfigError, match=r"assist\.url"):
        build_abilities(
            settings(tmp_path, url="https://home.lan:8123", ca_file=str(file)), tmp_path
        )


def test_credentials_of_the_service_replace_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "assist_token").write_text("of-the-house")
    (tmp_path / "assist_ada.token").write_text("of-ada")
    for name in ("assist_token", "assist_ada.token"):
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    build_abilities(
        AssistSettings(
            token_file="/etc/earmark/assist/token",  # noqa: S106 - a path
            owner_token_files={"ada": "/etc/earmark/assist/ada.token"},
        ),
        tmp_path,
    )
