"""The checks of voice control, against fakes of Home Assistant and Wyoming."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from listener.assist.home_assistant import may_mix_rooms
from listener.cli.assist_checks import check_assist
from listener.config import AssistSettings, Config
from tests.assist import fake_home_assistant, fake_wyoming
from tests.assist.fake_home_assistant import TOKEN, FakeHomeAssistant
from tests.assist.fake_wyoming import FakeWyoming


@pytest.fixture
def fake() -> Iterator[FakeHomeAssistant]:
    with fake_home_assistant.running(FakeHomeAssistant()) as fake:
        yield fake


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


def verdicts(url: str, token: Path | None, **fields: Any) -> dict[str, str]:  # noqa: ANN401 - of any type
    named = None if token is None else str(token)
    settings = AssistSettings(url=url, token_file=named, voice="none", **fields)
    return {one.check: one.verdict for one in check_assist(Config(assist=settings))}


def test_nothing_is_checked_without_a_token() -> None:
    assert verdicts("http://127.0.0.1:1", None) == {}


def test_working_home_assistant_is_ok(fake: FakeHomeAssistant, token: Path) -> None:
    assert verdicts(fake.url, token) == {
        "assist-link": "ok",
        "home-assistant": "ok",
        "assist-pipeline": "ok",
    }


def test_version_that_mixes_rooms_is_reported(fake: FakeHomeAssistant, token: Path) -> None:
    fake.version = "2026.2.3"

    assert verdicts(fake.url, token)["home-assistant"] == "warn"


def test_pipeline_without_ears_is_a_failure_unless_another_recogniser_is_set(
    fake: FakeHomeAssistant, token: Path
) -> None:
    assert verdicts(fake.url, token, pipeline="Plain")["assist-pipeline"] == "fail"

    found = verdicts(fake.url, token, pipeline="Plain", recogniser="wyoming", wyoming_port=1)

    assert (found["assist-pipeline"], found["wyoming"]) == ("ok", "fail")


def test_wyoming_server_is_asked(fake: FakeHomeAssistant, token: Path) -> None:
    with fake_wyoming.running(FakeWyoming()) as wyoming:
        wyoming.answer = [{"type": "info", "data": {"asr": [{"name": "x"}]}}]

        found = verdicts(fake.url, token, recogniser="wyoming", wyoming_port=wyoming.port)

    assert found["wyoming"] == "ok"


def test_wrong_token_and_missing_server_are_failures(fake: FakeHomeAssistant, token: Path) -> None:
    fake.tokens.clear()
    assert verdicts(fake.url, token)["home-assistant"] == "fail"
    assert verdicts("http://127.0.0.1:1", token)["home-assistant"] == "fail"
    token.chmod(0o644)
    assert verdicts(fake.url, token) == {"home-assistant": "fail"}
    token.unlink()
    assert verdicts(fake.url, token) == {"home-assistant": "fail"}


@pytest.mark.timeout(120)
def test_plain_http_to_another_computer_is_reported(token: Path) -> None:
    assert verdicts("http://192.0.2.1:8123", token)["assist-link"] == "warn"


@pytest.mark.parametrize(
    ("version", "mixes"),
    [
        ("2025.1.4", False),
        ("2025.6.3", False),
        ("2025.10.4", True),
        ("2026.2.3", True),
        ("2026.8.0", True),
        ("2026.11.0", False),
        ("2027.1.0b2", False),
        ("", False),
        ("dev", False),
    ],
)
def test_versions_that_mix_rooms(version: str, *, mixes: bool) -> None:
    assert may_mix_rooms(version) is mixes
