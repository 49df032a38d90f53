"""Home Assistant as recogniser, agent and voice, against a fake of its interface."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from listener.assist.home_assistant import (
    DIAL_S,
    NODE,
    HomeAssistantAddress,
    HomeAssistantAgent,
    HomeAssistantRecogniser,
    HomeAssistantSession,
    HomeAssistantVoice,
    find_pipeline,
)
from listener.assist.recogniser import AgentResult, OutcomeUnknown, Recognition
from listener.errors import Unavailable
from listener.household import home_assistant
from tests.assist.fake_home_assistant import TOKEN, FakeHomeAssistant, running
from tests.system.conftest import wait_until

SOUND = np.arange(58_000, dtype=np.int16)


@pytest.fixture
def fake() -> Iterator[FakeHomeAssistant]:
    with running(FakeHomeAssistant()) as fake:
        yield fake


@pytest.fixture
def address(fake: FakeHomeAssistant) -> HomeAssistantAddress:
    return HomeAssistantAddress(fake.url, lambda _owner: TOKEN)


def test_node_is_the_one_that_the_household_publishes() -> None:
    assert NODE == home_assistant.NODE


def test_command_is_carried_out_in_the_room_of_its_speaker(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    agent = HomeAssistantAgent(address, None)

    for room in ("kitchen", "bedroom", "kitchen"):
        result = agent.carry_out("turn on the lights", room, "ada")
        assert result == AgentResult("done", "Turned on the lights")

    assert fake.lights == ["kitchen", "bedroom", "kitchen"]


@pytest.mark.parametrize(
    ("text", "device", "outcome", "speech"),
    [
        ("what time is it", "kitchen", "done", "12:30"),
        ("the weather was fine", "kitchen", "not-understood", "Sorry, I couldn't understand that"),
        ("turn on the lights", "garage", "not-understood", "No area"),
        ("break", "kitchen", "failed", "Unexpected error"),
    ],
)
def test_outcomes(
    address: HomeAssistantAddress, text: str, device: str, outcome: str, speech: str
) -> None:
    result = HomeAssistantAgent(address, "Plain").carry_out(text, device, "ada")

    assert (result.outcome, result.speech) == (outcome, speech)


@pytest.mark.parametrize("moment", ["run", "intent"])
def test_command_is_not_repeated_when_the_connection_breaks(
    fake: FakeHomeAssistant, address: HomeAssistantAddress, moment: str
) -> None:
    fake.breaks = moment

    with pytest.raises(OutcomeUnknown):
        HomeAssistantAgent(address, None).carry_out("turn on the lights", "kitchen", "ada")

    assert fake.lights == ["kitchen"] * (moment == "intent")


def test_token_of_the_owner_is_used(fake: FakeHomeAssistant) -> None:
    fake.tokens.add("token-of-ada")
    address = HomeAssistantAddress(
        fake.url, lambda owner: "token-of-ada" if owner == "ada" else TOKEN
    )
    agent = HomeAssistantAgent(address, None)

    agent.prepare("kitchen", "ada")
    agent.carry_out("turn on the lights", "kitchen", "ada")
    agent.carry_out("turn on the lights", "kitchen", "bo")

    assert fake.used_tokens == ["token-of-ada", TOKEN]


def test_connection_of_another_owner_is_not_used(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    agent = HomeAssistantAgent(address, None)
    agent.prepare("kitchen", "ada")

    agent.carry_out("turn on the lights", "bedroom", "bo")
    agent.release()

    assert fake.lights == ["bedroom"]
    assert len(fake.used_tokens) == 2


def test_open_connection_is_kept_and_a_lost_one_is_made_again(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    agent = HomeAssistantAgent(address, None)
    agent.prepare("kitchen", "ada")
    agent.prepare("kitchen", "ada")
    assert len(fake.used_tokens) == 1

    fake.close_connections()
    wait_until(lambda: not agent.is_connected, "the client knows that the connection is closed")
    agent.prepare("kitchen", "ada")

    assert agent.carry_out("turn on the lights", "kitchen", "ada").outcome == "done"
    assert len(fake.used_tokens) == 2


def test_sentence_is_matched_after_a_recognition_that_took_longer_than_a_login_may(
    address: HomeAssistantAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = HomeAssistantAgent(address, None)
    agent.prepare("kitchen", "ada")
    now_s = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now_s + DIAL_S + 1)

    assert agent.is_command("turn on the lights", "kitchen", "ada")

    agent.release()


def test_no_thread_keeps_a_connection_alive(address: HomeAssistantAddress) -> None:
    """Two threads that wait for a third one at once can fail, before Python 3.13."""
    with HomeAssistantSession(address):
        names = [thread.name for thread in threading.enumerate()]

    assert [name for name in names if "recv_events" in name]
    assert not [name for name in names if "keepalive" in name]


def test_whole_clip_is_recognised_without_detection_of_its_end(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    recogniser = HomeAssistantRecogniser(address, "With ears")

    heard = recogniser.recognise(SOUND, "alexa", is_final=True)

    assert heard == Recognition("Alexa, turn on the lights.", is_command=False)
    assert fake.heard_bytes == SOUND.nbytes
    assert fake.no_vad is True
    assert fake.lights == [], "nothing is carried out by recognising"
    assert recogniser.recognise(SOUND, "alexa", is_final=False) == heard, "a part is recognised too"


@pytest.mark.parametrize(
    ("text", "is_command"),
    [
        ("Turn on the lights.", True),
        ("what time is it", True),
        ("turn on the", False),
        ("turn on the lamp of", False),
    ],
)
def test_sentence_is_matched_without_being_carried_out(
    fake: FakeHomeAssistant, address: HomeAssistantAddress, text: str, *, is_command: bool
) -> None:
    agent = HomeAssistantAgent(address, None)
    agent.prepare("kitchen", "ada")

    assert agent.is_command(text, "kitchen", "ada") is is_command

    assert fake.matched == [([text], "id-kitchen")]
    assert fake.lights == []
    agent.carry_out("turn on the lights", "kitchen", "ada")
    assert fake.lights == ["kitchen"]
    assert len(fake.used_tokens) == 1, "the same connection"


def test_sentence_that_is_only_similar_is_not_a_whole_command(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    agent = HomeAssistantAgent(address, None)
    fake.fuzzy = True

    assert not agent.is_command("turn on the lights", "kitchen", "ada")
    agent.release()


def test_home_assistant_that_cannot_match_is_unavailable(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    agent = HomeAssistantAgent(address, None)
    fake.matches = False

    with pytest.raises(Unavailable):
        agent.is_command("turn on the lights", "kitchen", "ada")
    agent.release()


def test_empty_text_is_no_recognition(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    fake.text = " "

    assert HomeAssistantRecogniser(address, None).recognise(SOUND, "alexa", is_final=True) is None


def test_speech_is_fetched_as_wav(fake: FakeHomeAssistant, address: HomeAssistantAddress) -> None:
    fake.sound = b"RIFF"

    assert HomeAssistantVoice(address, None).speak("12:30") == b"RIFF"

    assert fake.spoken[0]["message"] == "12:30"
    assert fake.spoken[0]["engine_id"] == "tts.fake"
    assert fake.spoken[0]["options"]["preferred_format"] == "wav"


def test_pipeline_without_speech_is_unavailable(address: HomeAssistantAddress) -> None:
    with pytest.raises(Unavailable, match="no text to speech"):
        HomeAssistantVoice(address, "Plain").speak("12:30")


def test_unknown_pipeline_and_wrong_token_are_unavailable(
    fake: FakeHomeAssistant, address: HomeAssistantAddress
) -> None:
    with HomeAssistantSession(address) as session:
        assert session.version == "2025.1.4"
        with pytest.raises(Unavailable, match="no pipeline"):
            find_pipeline(session, "Other")
    with pytest.raises(Unavailable, match="refuses the access token"):
        HomeAssistantSession(HomeAssistantAddress(fake.url, lambda _owner: "wrong"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1/ha"])
def test_unreachable_is_unavailable(url: str) -> None:
    agent = HomeAssistantAgent(HomeAssistantAddress(url, lambda _owner: TOKEN), None)

    with pytest.raises(Unavailable, match="cannot reach Home Assistant"):
        agent.carry_out("turn on the lights", "kitchen", "ada")
