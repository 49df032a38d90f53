from pathlib import Path

import pytest

from listener.demo import command_checks
from listener.demo.broker import CapturedMessage
from listener.demo.checks import ClaimChecks
from listener.errors import EarmarkError

ON = CapturedMessage("demo/kitchen-light/set", b"ON")
ASK = "earmark/v1/ask/{}"


def failed(facts: ClaimChecks) -> str:
    with pytest.raises(EarmarkError) as caught:
        facts.raise_on_failure()
    return str(caught.value)


@pytest.mark.parametrize("lamp", [[], [ON, ON], [CapturedMessage(ON.topic, b"OFF")]])
def test_lamp_must_be_turned_on_once(lamp: list[CapturedMessage]) -> None:
    facts = ClaimChecks()

    command_checks.check_lamp(facts, lamp)

    assert "the command turned the lamp on" in failed(facts)


def test_lamp_that_was_turned_on_passes() -> None:
    facts = ClaimChecks()

    command_checks.check_lamp(facts, [ON])

    facts.raise_on_failure()


@pytest.mark.parametrize(
    "topics", [[], [ASK.format("kitchen")], [ASK.format("kitchen"), ASK.format("bedroom")]]
)
def test_copies_must_come_from_the_permitted_speaker_alone(topics: list[str]) -> None:
    facts = ClaimChecks()

    command_checks.check_copies(facts, [CapturedMessage(topic, b"") for topic in topics], [])

    assert "only the speaker whose owner allowed it" in failed(facts)


def test_text_in_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("He said: Turn on the Kitchen light!")
    facts = ClaimChecks()

    command_checks.check_text(facts, tmp_path, ["Hey lumen, turn on the kitchen light."])

    assert "no file holds the text" in failed(facts)


def test_sentence_without_a_command_is_not_searched(tmp_path: Path) -> None:
    facts = ClaimChecks()

    command_checks.check_text(facts, tmp_path, ["Hey lumen."])

    assert "no file holds the text" in failed(facts)


def test_outcomes_skip_what_is_not_one() -> None:
    answers = [CapturedMessage("earmark/v1/answer/kitchen", data) for data in (b"{}", b"\xff", b"")]

    assert command_checks.outcomes([*answers, ON]) == []


def test_messages_for_assist_are_asks_and_copies() -> None:
    nonce = "0" * 32
    spoken = CapturedMessage(f"earmark/v1/spoken/kitchen/{nonce}", b"")

    assert command_checks.is_for_assist(spoken)
    assert command_checks.is_for_assist(CapturedMessage(ASK.format("kitchen"), b""))
    assert not command_checks.is_for_assist(ON)
    assert command_checks.copies([spoken, spoken, ON]) == [spoken]
