"""The checks of voice control, against fakes of Home Assistant and Wyoming."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from listener.assist.home_assistant import may_mix_rooms
from listener.cli.assist_checks import check_assist, check_assist_files
from listener.config import AssistSettings, Config
from tests.assist import fake_home_assistant, fake_wyoming
from tests.assist.fake_home_assistant import TOKEN, FakeHomeAssistant
from tests.assist.fake_wyoming import FakeWyoming
from tests.assist.understanding.homes import TEXT
from tests.conftest import Household

STOPPED = {"LoadState": "loaded", "MainPID": "0"}
RUNS = {"LoadState": "loaded", "MainPID": "7"}


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


def file_verdicts(home: Path, unit: Mapping[str, str], **fields: Any) -> dict[str, str]:  # noqa: ANN401 - of any type
    settings = Config(home=str(home), assist=AssistSettings(**fields))
    return {one.check: one.verdict for one in check_assist_files(settings, lambda _unit: unit)}


def test_speaker_without_assist_has_no_findings_of_it(household: Household) -> None:
    assert file_verdicts(household.home.path, STOPPED) == {}


def test_hub_of_home_assistant_has_key_roster_and_service(
    household: Household, token: Path
) -> None:
    home = household.home
    before = file_verdicts(home.path, STOPPED, token_file=str(token))
    assert not (home.path / "assist.key").exists(), "doctor makes nothing"
    home.assist_key()
    empty = file_verdicts(home.path, {}, roster_folder=str(token.parent / "none"))

    after = file_verdicts(home.path, RUNS, token_file=str(token))

    assert before == {"assist-key": "warn", "assist-roster": "ok", "assist-service": "warn"}
    assert empty == {"assist-key": "ok", "assist-roster": "warn"}
    assert after == {"assist-key": "ok", "assist-roster": "ok", "assist-service": "ok"}
    (home.path / "assist.key").chmod(0o644)
    assert file_verdicts(home.path, {})["assist-key"] == "fail"


def test_built_in_assistant_needs_model_and_home_file(household: Household, tmp_path: Path) -> None:
    things = tmp_path / "home.toml"
    things.write_text(TEXT)
    built_in = {"recogniser": "built-in", "agent": "built-in"}

    missing = file_verdicts(household.home.path, {}, **built_in)
    there = file_verdicts(household.home.path, {}, **built_in, home_file=str(things))
    things.write_text("[[")
    damaged = file_verdicts(household.home.path, {}, **built_in, home_file=str(things))

    assert (missing["assist-model"], missing["assist-home"]) == ("fail", "fail")
    assert (there["assist-model"], there["assist-home"]) == ("fail", "ok")
    assert damaged["assist-home"] == "fail"


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
