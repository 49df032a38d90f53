from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from listener.assist.understanding.home_actions import ThingMessage
from listener.assist.understanding.home_agent import HomeAgent
from listener.errors import Unavailable
from tests.assist.understanding.homes import small_home


class Things:
    def __init__(self) -> None:
        self.sent: list[str] = []
        self.is_confirmed = True

    def publish(self, messages: Sequence[ThingMessage]) -> bool:
        self.sent += [f"{message.topic} {message.payload}" for message in messages]
        return self.is_confirmed


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def agent(things: Things, clock: Clock) -> HomeAgent:
    def local_time() -> datetime:
        return datetime(2026, 11, 28, 19, 5, tzinfo=UTC)

    return HomeAgent(small_home(), things, clock, local_time)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("turn on the kitchen light", ["k/light ON"]),
        ("Turn off the kitchen light.", ["k/light OFF"]),
        ("set the kitchen light to 50%", ["k/light 50"]),
        ("set the kitchen light to fifty percent", ["k/light 50"]),
        ("switch off the coffee machine", ["k/coffee 0"]),
        ("open the kitchen blinds", ["k/blinds OPEN"]),
        ("close the blinds", ["k/blinds CLOSE"]),
        ("set the kitchen blinds to 40 percent", ["k/blinds 40"]),
        ("activate movie night", ["scene movie"]),
        ("set the heating to twenty one degrees", ["l/heating 21"]),
        ("set the temperature in the living room to 19 degrees", ["l/heating 19"]),
        ("turn on the lights", ["k/light ON", "k/lamp ON"]),
        ("turn on the lights in the lounge", ["l/lamp ON"]),
        ("turn off all the lights", ["k/light OFF", "k/lamp OFF", "l/lamp OFF"]),
        ("turn on the lamp", ["k/lamp ON"]),
        ("turn on the lamp in the living room", ["l/lamp ON"]),
    ],
)
def test_command_publishes_what_it_says(
    agent: HomeAgent, things: Things, text: str, sent: list[str]
) -> None:
    result = agent.carry_out(text, "kitchen", "ada")

    assert (result.outcome, things.sent) == ("done", sent)


@pytest.mark.parametrize(
    "text", ["", "turn on the toaster", "he turned on the kitchen light", "what is the weather"]
)
def test_other_text_changes_nothing(agent: HomeAgent, things: Things, text: str) -> None:
    assert agent.carry_out(text, "kitchen", "ada").outcome == "not-understood"
    assert things.sent == []


def test_name_that_two_areas_have_needs_an_area(agent: HomeAgent, things: Things) -> None:
    assert agent.carry_out("turn on the lamp", "attic", "ada").outcome == "failed"
    assert things.sent == []


def test_lights_here_need_the_area_of_the_speaker(agent: HomeAgent, things: Things) -> None:
    assert agent.carry_out("turn on the lights", "attic", "ada").outcome == "not-understood"
    assert things.sent == []


def test_missing_confirmation_is_a_failure_and_is_not_repeated(
    agent: HomeAgent, things: Things
) -> None:
    things.is_confirmed = False

    assert agent.carry_out("turn on the kitchen light", "kitchen", "ada").outcome == "failed"
    assert things.sent == ["k/light ON"]


def test_unreachable_broker_is_reported() -> None:
    class Unreachable:
        def publish(self, messages: Sequence[ThingMessage]) -> bool:
            raise Unavailable("no broker")

    agent = HomeAgent(small_home(), Unreachable())

    with pytest.raises(Unavailable):
        agent.carry_out("turn on the kitchen light", "kitchen", "ada")


def test_time_and_date_are_told(agent: HomeAgent) -> None:
    assert agent.carry_out("what time is it", "kitchen", "ada").speech == "It is 7:05 p.m."
    told = agent.carry_out("what's the date", "kitchen", "ada").speech
    assert told == "It is Saturday, November 28, 2026."


def test_timer_is_set_told_and_announced_once(agent: HomeAgent, clock: Clock) -> None:
    set_ = agent.carry_out("set a timer for one hour and thirty minutes", "kitchen", "ada")
    clock.now_s += 60
    left = agent.carry_out("how much time is left on the timer", "kitchen", "ada")
    before = agent.due()
    clock.now_s += 5340

    assert set_.speech == "1 hour and 30 minutes from now."
    assert left.speech == "1 hour and 29 minutes left."
    assert before == []
    assert [(one.device, one.speech) for one in agent.due()] == [
        ("kitchen", "Your timer for 1 hour and 30 minutes has ended.")
    ]
    assert agent.due() == []


def test_timers_belong_to_their_speaker(agent: HomeAgent, clock: Clock) -> None:
    agent.carry_out("set a timer for ten minutes", "kitchen", "ada")

    assert agent.carry_out("cancel the timer", "bedroom", "ada").outcome == "failed"
    assert agent.carry_out("cancel the timer", "kitchen", "ada").outcome == "done"
    clock.now_s += 600
    assert agent.due() == []


def test_timer_is_found_by_its_length_and_changed(agent: HomeAgent, clock: Clock) -> None:
    agent.carry_out("set a timer for ten minutes", "kitchen", "ada")
    agent.carry_out("set a timer for five minutes", "kitchen", "ada")
    agent.carry_out("cancel the five minute timer", "kitchen", "ada")
    longer = agent.carry_out("add two minutes to the timer", "kitchen", "ada")
    too_short = agent.carry_out("decrease the timer by twenty minutes", "kitchen", "ada")

    assert longer.speech == "12 minutes left."
    assert too_short.outcome == "failed"
    clock.now_s += 720
    assert [one.speech for one in agent.due()] == ["Your timer for 10 minutes has ended."]


def test_timers_are_bounded(agent: HomeAgent) -> None:
    results = [
        agent.carry_out("set a timer for ten minutes", "kitchen", "ada").outcome for _ in range(17)
    ]

    assert results == ["done"] * 16 + ["failed"]


@pytest.mark.parametrize(
    ("text", "is_command"),
    [
        ("Turn off the kitchen light.", True),
        ("set a timer for five minutes", True),
        ("what time is it", True),
        ("turn off the", False),
        ("turn off the lights in the garage", False),
    ],
)
def test_whole_command_is_known_without_being_carried_out(
    agent: HomeAgent, things: Things, text: str, *, is_command: bool
) -> None:
    assert agent.is_command(text, "kitchen", "ada") is is_command
    assert things.sent == []
    status = agent.carry_out("how much time is left on the timer", "kitchen", "ada")
    assert status.speech == "There are no timers."
