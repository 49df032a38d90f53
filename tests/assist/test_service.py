"""The assist service: who is answered, what is opened, and what is carried out."""

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.assist import worker
from listener.assist.recogniser import AgentResult, Announcement, OutcomeUnknown, Recognition
from listener.envelope import keys
from listener.errors import Unavailable
from listener.mqtt.client import ConnectionLostEvent, Message
from listener.voice import timing
from listener.voice.consent import Consent, encode_consents
from tests.assist.conftest import Assist
from tests.assist.speaker import SOUND, Speaker


def test_command_is_carried_out_in_its_room_and_answered(assist: Assist) -> None:
    nonce, _ = assist.command(assist.kitchen)

    assert assist.understanding.obeyed == [("turn on the lights", "kitchen", "ada")]
    assert assist.understanding.prepared == [("kitchen", "ada")]
    assert np.array_equal(assist.understanding.heard[0], SOUND)
    assert assist.outcomes(assist.kitchen) == ["done"]
    (reply,) = assist.replies(assist.kitchen)
    opened = assist.kitchen.open_reply(reply)
    assert opened.header.ask == nonce
    assert np.array_equal(opened.samples, np.arange(8_000, dtype=np.int16))
    assert assist.understanding.spoken == ["Turned on"]


def test_messages_are_never_retained_nor_stored_by_a_broker(assist: Assist) -> None:
    assist.command(assist.kitchen)

    assert len(assist.broker.sent) == 3
    for message in assist.broker.sent:
        assert (message.qos, message.retain) == (0, False)
        assert message.expiry_s is not None
    assert assist.broker.subscribed == [
        "earmark/v1/ask/+",
        "earmark/v1/spoken/+/+",
        "earmark/v1/consents/+",
        "earmark/v1/announce/+",
    ]


def test_of_two_speakers_one_is_told_to_speak(assist: Assist) -> None:
    assist.ask(assist.kitchen, since_ms=100)
    assist.ask(assist.bedroom, since_ms=300)
    assert assist.answers(assist.kitchen) == []

    assist.turn(0.3)

    assert [one.verdict for one in assist.answers(assist.kitchen)] == ["elsewhere"]
    assert [one.verdict for one in assist.answers(assist.bedroom)] == ["speak"]
    assert assist.asks.count() == {"bedroom": 1}


def test_ask_soon_after_a_start_is_answered_busy(assist: Assist) -> None:
    assist.stop()
    assist.start(is_ready=False)
    assist.clocks.run(3.5)

    assist.ask(assist.kitchen)
    assist.turn(1)

    assert [one.verdict for one in assist.answers(assist.kitchen)] == ["busy"]
    assert not assist.asks.count()


def test_only_speaker_is_answered_at_once(assist: Assist) -> None:
    assist.roster = assist.roster.without_device("bedroom", 0)

    assist.ask(assist.kitchen)

    assert [one.verdict for one in assist.answers(assist.kitchen)] == ["speak"]


def test_same_copy_again_is_not_carried_out(assist: Assist) -> None:
    nonce, copy = assist.command(assist.kitchen)
    assist.say(assist.kitchen, nonce, copy)
    assist.say(assist.kitchen, nonce, copy)

    assert len(assist.understanding.obeyed) == 1
    assert assist.outcomes(assist.kitchen) == ["done"]


def test_copy_that_is_repeated_before_the_act_does_not_speak_for_it(assist: Assist) -> None:
    """An outcome is the last word on its ask, and the broker can repeat each copy."""
    nonce, key = assist.wake(assist.kitchen)
    topic = f"earmark/v1/spoken/kitchen/{nonce}"
    repeated = Message(topic, assist.kitchen.copy(nonce, key), 0, retain=False)
    assist.broker.events += [repeated, repeated, repeated]

    assist.turn()

    assert len(assist.understanding.obeyed) == 1
    assert assist.outcomes(assist.kitchen) == ["done"]


def test_flood_of_a_recorded_copy_is_answered_a_few_times(assist: Assist) -> None:
    nonce, copy = assist.command(assist.kitchen)
    for _ in range(50):
        assist.say(assist.kitchen, nonce, copy)
    assert assist.outcomes(assist.kitchen) == ["done"]

    unheard, key = assist.wake(assist.kitchen)
    copy = assist.kitchen.copy(unheard, key)
    assist.clocks.run(timing.LIFE_S + 1)
    assist.turn(0.1)
    for _ in range(50):
        assist.say(assist.kitchen, unheard, copy)
    assert len(assist.outcomes(assist.kitchen)) == 1 + 4

    assist.clocks.run(2)
    assist.say(assist.kitchen, unheard, copy)

    assert len(assist.outcomes(assist.kitchen)) == 6
    assert assist.outcomes(assist.kitchen).count("done") == 1
    assert len(assist.understanding.heard) == 1


def test_command_of_an_owner_who_is_not_active_any_more_is_refused(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.roster = assist.roster.without_owner("ada").with_owner("ada", assist.owner)

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key))

    assert assist.understanding.heard == []
    assert assist.outcomes(assist.kitchen) == ["failed"]


def test_everything_recorded_and_given_again_does_nothing(assist: Assist) -> None:
    """Asks and copies after the act, a restart, a day, and at another year."""
    nonce, ask = assist.kitchen.ask()
    assist.receive("earmark/v1/ask/kitchen", ask)
    assist.turn(0.3)
    key = assist.answers(assist.kitchen)[0].key
    assert key is not None
    copy = assist.kitchen.copy(nonce, key)
    assist.say(assist.kitchen, nonce, copy)
    assert len(assist.understanding.obeyed) == 1

    def restart() -> None:
        assist.stop()
        assist.start()

    def pass_a_day() -> None:
        assist.clocks.run(86_400)

    def set_to_1970() -> None:
        assist.clocks.wall_s = 0

    def pass_nothing() -> None: ...

    for happens in (pass_nothing, restart, pass_a_day, restart, set_to_1970, restart):
        happens()
        assist.say(assist.kitchen, nonce, copy)
        assist.receive("earmark/v1/ask/kitchen", ask)
        assist.turn(0.3)
        assist.say(assist.kitchen, nonce, copy)

    assert len(assist.understanding.obeyed) == 1
    assert len(assist.understanding.heard) == 1
    assert "done" in assist.outcomes(assist.kitchen)


def test_late_command_is_not_carried_out(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    copy = assist.kitchen.copy(nonce, key, age_ms=1_000)
    assist.turn(8.5)

    assist.say(assist.kitchen, nonce, copy)

    assert assist.understanding.heard == []
    assert assist.outcomes(assist.kitchen) == ["late"]


def test_command_that_is_late_once_home_assistant_is_connected_is_not_started(
    assist: Assist,
) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.understanding.before_act = lambda: assist.clocks.run(9)

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, age_ms=1_000))

    assert assist.understanding.obeyed == []
    assert assist.outcomes(assist.kitchen) == ["late"]


@pytest.mark.parametrize("is_lost", [False, True])
def test_home_assistant_is_connected_while_the_clip_is_recognised(
    assist: Assist, monkeypatch: pytest.MonkeyPatch, *, is_lost: bool
) -> None:
    connected = threading.Event()

    def recognise(_samples: object, _word: str, *, is_final: bool) -> Recognition:
        assert is_final
        assert connected.wait(60), "the connection waits for the recogniser"
        if is_lost:
            assist.understanding.release()
        return Recognition("turn on the lights", is_command=False)

    assist.understanding.before_act = connected.set
    monkeypatch.setattr(assist.understanding, "recognise", recognise)

    assist.command(assist.kitchen)

    assert assist.outcomes(assist.kitchen) == ["done"]
    assert len(assist.understanding.prepared) == (2 if is_lost else 1)


@pytest.mark.parametrize(
    ("text", "outcome"), [("turn on the lights", "failed"), (None, "not-understood")]
)
def test_command_without_a_connection_is_not_carried_out(
    assist: Assist, text: str | None, outcome: str
) -> None:
    assist.understanding.unreachable = Unavailable("cannot reach Home Assistant")
    assist.understanding.text = text

    assist.command(assist.kitchen)

    assert assist.understanding.obeyed == []
    assert assist.outcomes(assist.kitchen) == [outcome]


def test_connection_that_no_command_used_is_closed_and_made_again_before_an_act(
    assist: Assist,
) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
    assert assist.understanding.connected == ("kitchen", "ada")

    assist.processor.rest()
    assert assist.understanding.connected is None
    assist.confirm(assist.kitchen, nonce, 1)

    assert len(assist.understanding.obeyed) == 1
    assert assist.outcomes(assist.kitchen) == ["done"]


def test_sound_is_wiped_after_recognition(assist: Assist) -> None:
    assist.command(assist.kitchen)

    (given,) = assist.understanding.given
    assert not given.any()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"owner": "bo"}, "failed"),
        ({"okey": "a" * 24}, "failed"),
        ({"assist": "b" * 24}, "failed"),
    ],
)
def test_copy_is_refused_by_its_content(
    assist: Assist, change: dict[str, object], word: str
) -> None:
    nonce, key = assist.wake(assist.kitchen)

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, fields=change))

    assert assist.understanding.heard == []
    assert assist.outcomes(assist.kitchen) == [word]
    assert not assist.asks.count(), "the ask has ended"


def _other_topic(assist: Assist, nonce: str, key: str) -> tuple[str, bytes]:
    return f"earmark/v1/spoken/bedroom/{nonce}", assist.kitchen.copy(nonce, key)


def _other_ask(assist: Assist, nonce: str, key: str) -> tuple[str, bytes]:
    return f"earmark/v1/spoken/kitchen/{'0' * 32}", assist.kitchen.copy(nonce, key)


def _other_device(assist: Assist, nonce: str, key: str) -> tuple[str, bytes]:
    return f"earmark/v1/spoken/bedroom/{nonce}", assist.bedroom.copy(nonce, key)


def _stranger(assist: Assist, nonce: str, key: str) -> tuple[str, bytes]:
    stranger = Speaker("kitchen", assist.key, "ada", assist.kitchen.okey)
    return f"earmark/v1/spoken/kitchen/{nonce}", stranger.copy(nonce, key)


def _other_key(assist: Assist, nonce: str, _key: str) -> tuple[str, bytes]:
    other = str(pyrage.x25519.Identity.generate().to_public())
    return f"earmark/v1/spoken/kitchen/{nonce}", assist.kitchen.copy(nonce, other)


def _cut(assist: Assist, nonce: str, key: str) -> tuple[str, bytes]:
    return f"earmark/v1/spoken/kitchen/{nonce}", assist.kitchen.copy(nonce, key)[:-1]


def _damaged(assist: Assist, nonce: str, key: str) -> tuple[str, bytes]:
    copy = assist.kitchen.copy(nonce, key)
    return f"earmark/v1/spoken/kitchen/{nonce}", copy[:-1] + bytes([copy[-1] ^ 1])


def _noise(_assist: Assist, nonce: str, _key: str) -> tuple[str, bytes]:
    return f"earmark/v1/spoken/kitchen/{nonce}", b"\xff" * 1000


@pytest.mark.parametrize(
    "forge",
    [
        _other_topic,
        _other_ask,
        _other_device,
        _stranger,
        _other_key,
        _cut,
        _damaged,
        _noise,
    ],
)
def test_copy_that_is_not_the_speakers_is_not_opened(
    assist: Assist, forge: Callable[[Assist, str, str], tuple[str, bytes]]
) -> None:
    nonce, key = assist.wake(assist.kitchen)

    assist.receive(*forge(assist, nonce, key))

    assert assist.understanding.heard == []
    assert assist.asks.count() == {"kitchen": 1}, "the ask stays open for the true copy"
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key))
    assert len(assist.understanding.obeyed) == 1


def test_retained_messages_are_ignored(assist: Assist) -> None:
    _, ask = assist.kitchen.ask()
    assist.receive("earmark/v1/ask/kitchen", ask, retain=True)
    assert assist.asks.count() == {}

    nonce, key = assist.wake(assist.kitchen)
    topic = f"earmark/v1/spoken/kitchen/{nonce}"
    assist.receive(topic, assist.kitchen.copy(nonce, key), retain=True)

    assert assist.understanding.heard == []


@pytest.mark.parametrize(
    "changes",
    [{"device": "bedroom"}, {"dkey": "a" * 24}, {"assist": "b" * 24}],
)
def test_ask_that_does_not_fit_gets_no_answer(assist: Assist, changes: dict[str, object]) -> None:
    assist.ask(assist.kitchen, "", **changes)
    assist.turn(0.5)

    assert assist.broker.sent == []


def test_ask_of_an_unknown_or_revoked_device_gets_no_answer(assist: Assist) -> None:
    assist.ask(Speaker("garage", assist.key, "ada", assist.kitchen.okey))
    assist.roster = assist.roster.without_device("kitchen", 0)
    assist.ask(assist.kitchen)
    assist.ask(Speaker("bedroom", assist.key, "ada", assist.kitchen.okey))
    assist.turn(0.5)

    assert assist.broker.sent == []


def test_copy_of_a_device_that_was_revoked_since_is_not_opened(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.roster = assist.roster.without_device("kitchen", 0)

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key))

    assert assist.understanding.heard == []


def test_third_ask_within_a_second_is_answered_busy(assist: Assist) -> None:
    for _ in range(3):
        assist.ask(assist.kitchen)
    assist.turn(0.4)

    assert sorted(one.verdict for one in assist.answers(assist.kitchen)) == [
        "busy",
        "elsewhere",
        "speak",
    ]


def consents(assist: Assist, *, on: int, n: int, device: str = "kitchen") -> bytes:
    consent = Consent(
        assist=keys.device_text(assist.key.public_key()),
        code="A" * 43 + "=",
        device=device,
        n=n,
        okey=assist.kitchen.okey,
        on=on,
        owner="ada",
    )
    return encode_consents([consent])


def test_off_is_obeyed_without_proof_and_after_a_restart(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.receive("earmark/v1/consents/kitchen", consents(assist, on=0, n=6), retain=True)

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key))
    assist.stop()
    assist.start()
    assist.command(assist.kitchen)

    assert assist.understanding.heard == []
    assert assist.outcomes(assist.kitchen) == ["failed", "failed"]


def test_off_of_one_speaker_leaves_the_other(assist: Assist) -> None:
    assist.receive("earmark/v1/consents/kitchen", consents(assist, on=0, n=6), retain=True)
    assist.receive("earmark/v1/consents/kitchen", consents(assist, on=0, n=6, device="bedroom"))

    assist.command(assist.bedroom)

    assert len(assist.understanding.obeyed) == 1


def test_on_is_not_obeyed_but_shown_by_the_copies_of_the_speaker(assist: Assist) -> None:
    assist.receive("earmark/v1/consents/kitchen", consents(assist, on=0, n=6))
    assist.receive("earmark/v1/consents/kitchen", consents(assist, on=1, n=7))
    assist.command(assist.kitchen)
    assert assist.understanding.heard == []

    assist.turn(4)
    assist.kitchen.consent_n = 7
    assist.command(assist.kitchen)

    assert len(assist.understanding.obeyed) == 1


@pytest.mark.parametrize("payload", [b"", b"[]", b"x", b"[" * 9000, b'[{"on":0}]'])
def test_other_consents_change_nothing(assist: Assist, tmp_path: Path, payload: bytes) -> None:
    assist.receive("earmark/v1/consents/kitchen", payload)

    assist.command(assist.kitchen)

    assert len(assist.understanding.obeyed) == 1
    assert list(tmp_path.iterdir()) == []


def test_confirmed_part_is_obeyed_once(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.understanding.is_command = False
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
    assist.confirm(assist.kitchen, nonce, 1)
    assert assist.understanding.obeyed == []
    assert assist.heard_by(assist.kitchen)[1:] == []

    assist.understanding.is_command = True
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 1000, part=2, last=0))
    assert assist.understanding.obeyed == [], "it may go on"
    assist.confirm(assist.kitchen, nonce, 2)
    assist.confirm(assist.kitchen, nonce, 2)
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 1500, part=3))

    assert len(assist.understanding.obeyed) == 1
    assert len(assist.understanding.heard) == 2, "the third part is not opened"
    assert assist.outcomes(assist.kitchen) == ["done"]
    assert assist.asks.count() == {}


def test_part_that_goes_on_is_dropped_and_the_whole_is_obeyed(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
    assist.understanding.text = "Alexa, turn on the lights in the bedroom"
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 1500, part=2))

    assert assist.understanding.obeyed == [("turn on the lights in the bedroom", "kitchen", "ada")]
    assert assist.outcomes(assist.kitchen) == ["done"]


def test_late_confirmation_of_an_earlier_part_changes_nothing(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
    assist.understanding.text = "Alexa, turn on the lights in the bedroom"
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 1500, part=2, last=0))
    assist.confirm(assist.kitchen, nonce, 1)
    assert assist.understanding.obeyed == []

    assist.confirm(assist.kitchen, nonce, 2)

    assert assist.understanding.obeyed == [("turn on the lights in the bedroom", "kitchen", "ada")]


def test_confirmation_before_its_part_counts(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.confirm(assist.kitchen, nonce, 1)
    assert assist.understanding.obeyed == []

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))

    assert len(assist.understanding.obeyed) == 1
    assert assist.outcomes(assist.kitchen) == ["done"]


def test_worker_rests_while_there_is_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "IDLE_S", 0.01)
    has_rested = threading.Event()
    made = worker.CommandWorker(lambda _job, _post: None, has_rested.set)
    made.start()
    try:
        assert has_rested.wait(60)
    finally:
        made.close()


def test_text_of_a_part_is_matched_where_the_recogniser_knows_no_commands(assist: Assist) -> None:
    assist.understanding.is_command = False
    assist.understanding.sentences = {"turn on the lights"}
    for text, count in (("Alexa, turn on the", 0), ("Alexa, turn on the lights", 1)):
        assist.understanding.text = text
        nonce, key = assist.wake(assist.kitchen)
        assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
        assist.confirm(assist.kitchen, nonce, 1)
        assert len(assist.understanding.obeyed) == count
        assist.turn(5)


@pytest.mark.parametrize("what", ["signature", "device", "ask", "retained", "elsewhere"])
def test_confirmation_that_is_not_the_speakers_changes_nothing(assist: Assist, what: str) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
    match what:
        case "signature":
            assist.confirm(assist.kitchen, nonce, 1, key=assist.bedroom.key)
        case "device":
            assist.confirm(assist.kitchen, nonce, 1, key=assist.bedroom.key, device="bedroom")
        case "ask":
            assist.confirm(assist.kitchen, "0" * 32, 1)
        case "elsewhere":
            assist.confirm(assist.bedroom, nonce, 1)
        case "retained":
            payload = assist.kitchen.confirmation(nonce, 1)
            assist.receive("earmark/v1/ask/kitchen", payload, retain=True)
        case _:
            raise AssertionError(what)
    assert assist.understanding.obeyed == []

    assist.confirm(assist.kitchen, nonce, 1)

    assert len(assist.understanding.obeyed) == 1


def test_confirmation_that_is_given_again_after_the_act_or_a_restart_does_nothing(
    assist: Assist,
) -> None:
    nonce, key = assist.wake(assist.kitchen)
    part = assist.kitchen.copy(nonce, key, 500, part=1, last=0)
    assist.say(assist.kitchen, nonce, part)
    assist.confirm(assist.kitchen, nonce, 1)
    for _ in range(2):
        assist.say(assist.kitchen, nonce, part)
        assist.confirm(assist.kitchen, nonce, 1)
        assist.stop()
        assist.start()

    assert len(assist.understanding.obeyed) == 1
    assert assist.outcomes(assist.kitchen) == ["done", "late"], "the second one after a restart"


def test_part_is_not_obeyed_late_and_its_text_ends_with_its_ask(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
    assist.turn(8)

    assist.confirm(assist.kitchen, nonce, 1)

    assert assist.understanding.obeyed == []
    assert assist.outcomes(assist.kitchen) == ["late"]
    second, key = assist.wake(assist.kitchen)
    assist.say(assist.kitchen, second, assist.kitchen.copy(second, key, 500, part=1, last=0))
    assert assist.asks.held_count() == 1
    assist.turn(30)
    assert assist.asks.held_count() == 0


def test_part_that_cannot_be_recognised_leaves_the_decision_to_the_last_one(
    assist: Assist,
) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.understanding.unavailable = Unavailable("the recogniser is loading its model")
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 500, part=1, last=0))
    assist.confirm(assist.kitchen, nonce, 1)
    assert assist.outcomes(assist.kitchen) == []

    assist.understanding.unavailable = None
    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key, 1500, part=2))

    assert assist.outcomes(assist.kitchen) == ["done"]


def test_provisional_part_that_finds_a_job_waiting_is_dropped_and_its_ask_stays(
    assist: Assist,
) -> None:
    first, first_key = assist.wake(assist.kitchen)
    assist.turn(4)
    second, second_key = assist.wake(assist.bedroom)
    whole = assist.kitchen.copy(first, first_key, 4_500)
    part = assist.bedroom.copy(second, second_key, 500, part=1, last=0)
    for speaker, nonce, copy in ((assist.kitchen, first, whole), (assist.bedroom, second, part)):
        topic = f"earmark/v1/spoken/{speaker.name}/{nonce}"
        assist.broker.events.append(Message(topic, copy, 0, retain=False))
    assist.turn()
    assert len(assist.understanding.obeyed) == 1
    assert assist.outcomes(assist.bedroom) == []

    assist.say(assist.bedroom, second, assist.bedroom.copy(second, second_key, 1_000, part=2))

    assert assist.outcomes(assist.bedroom) == ["done"]
    assert len(assist.understanding.obeyed) == 2


@pytest.mark.parametrize("text", [None, "", "Alexa", "alexa!"])
def test_clip_without_a_command_is_not_understood(assist: Assist, text: str | None) -> None:
    assist.understanding.text = text

    assist.command(assist.kitchen)

    assert assist.understanding.obeyed == []
    assert assist.outcomes(assist.kitchen) == ["not-understood"]
    assert not assist.asks.count()


def test_unavailable_agent_is_told_and_unknown_outcome_is_not(assist: Assist) -> None:
    assist.understanding.error = Unavailable("gone")
    assist.command(assist.kitchen)
    assert assist.outcomes(assist.kitchen) == ["failed"]

    assist.turn(4)
    assist.understanding.error = OutcomeUnknown("lost")
    nonce, copy = assist.command(assist.kitchen)
    assert assist.outcomes(assist.kitchen) == ["failed"]

    assist.understanding.error = None
    assist.say(assist.kitchen, nonce, copy)
    assert len(assist.understanding.obeyed) == 2, "it is not repeated"


def test_speaker_without_reply_key_gets_the_outcome_alone(assist: Assist) -> None:
    nonce = assist.ask(assist.kitchen, reply=None)
    assist.turn(0.3)
    key = assist.answers(assist.kitchen)[0].key
    assert key is not None

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key))

    assert assist.outcomes(assist.kitchen) == ["done"]
    assert assist.understanding.spoken == []
    assert assist.replies(assist.kitchen) == []


def test_reply_that_is_too_long_or_empty_is_left_out(assist: Assist) -> None:
    noise = np.random.default_rng(1).integers(-30_000, 30_000, 400_000).astype(np.int16)
    for result in (
        AgentResult("done", " "),
        AgentResult("done", "x", b"RIFF"),
        AgentResult("done", "x"),
    ):
        assist.understanding.result = result
        assist.command(assist.kitchen)
        assist.turn(4)
        if result.sound:
            assert len(assist.replies(assist.kitchen)) == 1, "the text instead"
            assist.understanding.sound = noise

    assert assist.outcomes(assist.kitchen) == ["done"] * 3
    assert len(assist.replies(assist.kitchen)) == 1


def test_announcement_pokes_and_is_spoken_for_the_ask_that_follows(assist: Assist) -> None:
    assist.understanding.announcements = [
        Announcement("kitchen", "The timer is over"),
        Announcement("kitchen", "Dinner"),
        Announcement("garage", "No such speaker"),
    ]
    assist.turn()
    assert assist.heard_by(assist.kitchen) == [None]

    nonce = assist.ask(assist.kitchen, why="poke")

    assert assist.answers(assist.kitchen) == [], "no key for a poke"
    assert not assist.asks.count()
    assert assist.understanding.spoken == ["The timer is over Dinner"]
    opened = assist.kitchen.open_reply(assist.replies(assist.kitchen)[0])
    assert opened.header.ask == nonce


def test_timer_rings_behind_its_text_in_bursts(assist: Assist) -> None:
    for speech in ("The timer is over", ""):
        assist.broker.sent.clear()
        assist.understanding.announcements = [Announcement("kitchen", speech, is_ring=True)]
        assist.turn()
        assist.ask(assist.kitchen, why="poke")

        (reply,) = assist.replies(assist.kitchen)
        samples = assist.kitchen.open_reply(reply).samples
        assert 25 * 16_000 < len(samples) <= 30 * 16_000
        sounding = np.flatnonzero(samples)
        assert np.diff(sounding).max() >= 1.9 * 16_000
        # Silence of a second or more parts the bursts; within a burst there are short rests.
        ends = np.flatnonzero(np.diff(sounding) >= 16_000)
        edges = [0, *(ends + 1), len(sounding)]
        bursts = [sounding[last - 1] - sounding[first] for first, last in pairwise(edges)]
        assert max(bursts) <= 2 * 16_000
        assert len(bursts) >= 6


def test_poke_is_repeated_until_the_announcement_is_old(assist: Assist) -> None:
    assist.understanding.announcements = [Announcement("kitchen", "The timer is over")]
    assist.turn(60)
    assert 4 <= len(assist.heard_by(assist.kitchen)) <= 7

    assist.ask(assist.kitchen, why="poke")

    assert assist.understanding.spoken == []


def test_ask_by_poke_without_announcement_yields_nothing(assist: Assist) -> None:
    assist.ask(assist.kitchen, why="poke")
    assist.turn(1)

    assert assist.broker.sent == []


def test_clock_that_jumps_drops_the_ask(assist: Assist) -> None:
    nonce, key = assist.wake(assist.kitchen)
    assist.clocks.wall_s += 3600

    assist.say(assist.kitchen, nonce, assist.kitchen.copy(nonce, key))

    assert assist.understanding.heard == []
    assert assist.outcomes(assist.kitchen) == ["late"]
    assert assist.asks.lost_by_clock == 1


def test_connection_is_made_again(assist: Assist) -> None:
    assist.broker.events.append(ConnectionLostEvent("gone"))
    assist.turn(1)

    assert len(assist.broker.subscribed) == 8
    assist.command(assist.kitchen)
    assert len(assist.understanding.obeyed) == 1


def test_another_service_key_answers_nothing(assist: Assist, tmp_path: Path) -> None:
    other = Assist(tmp_path, Ed25519PrivateKey.generate())
    other.roster = assist.roster
    _, ask = assist.kitchen.ask()

    other.receive("earmark/v1/ask/kitchen", ask)
    other.turn(0.5)
    other.stop()

    assert other.broker.sent == []


def test_damaged_list_of_owners_who_said_off_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "off.json").write_bytes(msgspec.json.encode({"v": 1}))

    with pytest.raises(Exception, match="is damaged"):
        Assist(tmp_path)
