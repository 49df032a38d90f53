"""Timers by Earmark beside Home Assistant."""

import pytest

from listener.assist.recogniser import AgentResult, Announcement
from listener.assist.understanding.home_agent import HomeAgent
from listener.assist.understanding.home_file import HomeFile
from listener.assist.understanding.timer_agent import TimerAgent
from tests.assist.clocks import Clocks


class OtherAgent:
    def __init__(self) -> None:
        self.obeyed: list[tuple[str, str, str]] = []

    def carry_out(self, text: str, device: str, owner: str) -> AgentResult:
        self.obeyed.append((text, device, owner))
        return AgentResult("done")

    def is_command(self, text: str, device: str, owner: str) -> bool:
        assert (device, owner) == ("kitchen", "ada")
        return text == "turn on the lights"


class NoThings:
    def publish(self, messages: object) -> bool:
        raise AssertionError("a timer changes no thing")


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def other() -> OtherAgent:
    return OtherAgent()


@pytest.fixture
def agent(clocks: Clocks, other: OtherAgent) -> TimerAgent:
    return TimerAgent(HomeAgent(HomeFile(), NoThings(), lambda: clocks.boot_s), other)


def test_timer_rings_at_its_speaker(agent: TimerAgent, clocks: Clocks, other: OtherAgent) -> None:
    result = agent.carry_out("Set a timer for five minutes.", "kitchen", "ada")
    assert result.outcome == "done"
    clocks.run(299)
    assert agent.due() == []

    clocks.run(2)

    (announcement,) = agent.due()
    assert announcement == Announcement("kitchen", announcement.speech, is_ring=True)
    assert agent.due() == []
    assert other.obeyed == []


def test_cancelled_timer_does_not_ring(agent: TimerAgent, clocks: Clocks) -> None:
    agent.carry_out("set a timer for five minutes", "kitchen", "ada")
    assert agent.carry_out("cancel the timer", "kitchen", "ada").outcome == "done"

    clocks.run(600)

    assert agent.due() == []


@pytest.mark.parametrize("text", ["turn on the lights", "what time is it", "stop the music", "x"])
def test_everything_else_goes_to_the_other_agent(
    agent: TimerAgent, other: OtherAgent, text: str
) -> None:
    assert agent.carry_out(text, "kitchen", "ada") == AgentResult("done")
    assert other.obeyed == [(text, "kitchen", "ada")]


@pytest.mark.parametrize(
    ("text", "is_command"),
    [
        ("set a timer for five minutes", True),
        ("set a timer for", False),
        ("turn on the lights", True),
        ("what time is it", False),
    ],
)
def test_whole_commands_are_those_of_both_agents(
    agent: TimerAgent, other: OtherAgent, text: str, *, is_command: bool
) -> None:
    assert agent.is_command(text, "kitchen", "ada") is is_command
    assert agent.due() == []
    assert other.obeyed == []
