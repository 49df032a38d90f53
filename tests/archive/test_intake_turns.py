"""Which of several archives stores a clip."""

import hashlib
import uuid
from dataclasses import replace

import pytest

from listener.archive.intake_turns import MOST_BYTES, PAUSE_S, IntakeTurns
from listener.mqtt import topics
from listener.mqtt.client import Message
from tests.archive.conftest import FakeClock

CLIPS = [str(uuid.UUID(int=number)) for number in range(300)]


def clip_message(clip: str, payload: bytes = b"envelope") -> Message:
    return Message(topics.CLIP.name(owner="ada", device="hall", clip=clip), payload)


def answer(
    clip: str, payload: bytes = b"envelope", *, refused: str = "", waiting: str = ""
) -> Message:
    sha256 = hashlib.sha256(payload).hexdigest()
    made = topics.ArchiveAnswer(sha256, refused, waiting=waiting)
    return Message(topics.ACK.name(device="hall", clip=clip), made.encode())


@pytest.fixture
def three(clock: FakeClock) -> list[IntakeTurns[str]]:
    return [IntakeTurns(number, 3, clock) for number in (1, 2, 3)]


def test_one_archive_stores_each_clip_at_once(three: list[IntakeTurns[str]]) -> None:
    own = [[each.is_own("a", clip_message(clip)) for each in three] for clip in CLIPS]

    assert all(sum(one) == 1 for one in own)
    shares = [sum(column) for column in zip(*own, strict=True)]
    assert min(shares) > len(CLIPS) / 5, shares


def test_another_takes_over_after_a_pause_each(
    three: list[IntakeTurns[str]], clock: FakeClock
) -> None:
    message = replace(clip_message(CLIPS[0]), waited_s=7, unread_since_s=98.0)
    waiting = [each for each in three if not each.is_own("a", message)]
    assert [each.take_due() for each in waiting] == [[], []]

    clock.now_s += PAUSE_S
    first = [each.take_due() for each in waiting]
    clock.now_s += PAUSE_S
    second = [each.take_due() for each in waiting]

    assert sorted(map(len, first)) == sorted(map(len, second)) == [0, 1]
    assert first != second
    taken = [next(filter(None, found))[0] for found in (first, second)]
    assert taken == [("a", replace(message, waited_s=8)), ("a", replace(message, waited_s=9))]
    assert [one.unread_since_s for _, one in taken] == [99.0, 100.0]
    assert [each.taken_over for each in waiting] == [1, 1]


@pytest.mark.parametrize(
    "reply",
    [answer(CLIPS[0]), answer(CLIPS[0], refused="erased"), answer(CLIPS[0], waiting="owner")],
)
def test_answered_clip_is_dropped(
    three: list[IntakeTurns[str]], clock: FakeClock, reply: Message
) -> None:
    for each in three:
        each.is_own("a", clip_message(CLIPS[0]))
        each.on_answer("a", reply)
    clock.now_s += 3 * PAUSE_S

    assert [each.take_due() for each in three] == [[], [], []]
    assert sum(each.left_to_others for each in three) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("b", answer(CLIPS[0])),
        ("a", answer(CLIPS[0], b"other bytes")),
        ("a", answer(CLIPS[1])),
        ("a", Message(topics.ACK.name(device="hall", clip=CLIPS[0]), b"\xff")),
        ("a", Message("earmark/v1/ack/x", b"")),
    ],
)
def test_other_answers_leave_the_clip(
    three: list[IntakeTurns[str]], clock: FakeClock, source: str, message: Message
) -> None:
    for each in three:
        each.is_own("a", clip_message(CLIPS[0]))
        each.on_answer(source, message)
    clock.now_s += 3 * PAUSE_S

    assert sum(len(each.take_due()) for each in three) == 2


def test_memory_is_bounded(clock: FakeClock) -> None:
    turns: IntakeTurns[str] = IntakeTurns(1, 2, clock)
    size = MOST_BYTES // 10
    held = [clip for clip in CLIPS if not turns.is_own("a", clip_message(clip, bytes(size)))]
    clock.now_s += PAUSE_S

    assert [message for _, message in turns.take_due()] == [
        replace(clip_message(clip, bytes(size)), waited_s=int(PAUSE_S)) for clip in held[-10:]
    ]


def test_repeated_clip_is_held_once(clock: FakeClock) -> None:
    turns: IntakeTurns[str] = IntakeTurns(1, 2, clock)
    clip = next(one for one in CLIPS if not turns.is_own("a", clip_message(one)))
    turns.is_own("a", clip_message(clip))
    clock.now_s += PAUSE_S

    assert len(turns.take_due()) == 1


def test_message_of_another_topic_is_everyones(three: list[IntakeTurns[str]]) -> None:
    assert all(each.is_own("a", Message("earmark/v1/clips/x", b"")) for each in three)


def test_answer_that_overtakes_its_clip_counts(
    three: list[IntakeTurns[str]], clock: FakeClock
) -> None:
    waiting = [each for each in three if not each.is_own("a", clip_message(CLIPS[0]))]
    for each in waiting:
        each.on_answer("a", answer(CLIPS[0]))
        each.on_answer("a", answer(CLIPS[0]))  # of the same clip, published again
    clock.now_s += 20

    for each in waiting:
        assert not each.is_own("a", replace(clip_message(CLIPS[0]), left_s=40))
        assert each.take_due() == []
        # Its speaker does not have the answer: published after it, the clip waits for another.
        each.on_answer("a", answer(CLIPS[0]))
    clock.now_s += 20
    for each in waiting:
        assert not each.is_own("a", replace(clip_message(CLIPS[0]), left_s=58))
    clock.now_s += 2 * (PAUSE_S + 4)
    assert [len(each.take_due()) for each in waiting] == [1, 1]


def test_pause_grows_with_the_time_in_the_brokers_queue(
    three: list[IntakeTurns[str]], clock: FakeClock
) -> None:
    message = replace(clip_message(CLIPS[0]), left_s=50)
    waiting = [each for each in three if not each.is_own("a", message)]

    clock.now_s += PAUSE_S + 19
    assert [each.take_due() for each in waiting] == [[], []]
    clock.now_s += 1
    assert sorted(len(each.take_due()) for each in waiting) == [0, 1]


def test_remembered_answers_are_bounded(three: list[IntakeTurns[str]]) -> None:
    oldest, next_one = [clip for clip in CLIPS if not three[0].is_own("b", clip_message(clip))][:2]
    for clip in (oldest, next_one):
        three[0].on_answer("a", answer(clip))
    for number in range(1_000, 1_000 + 9_999):
        three[0].on_answer("a", answer(str(uuid.UUID(int=number))))

    assert not three[0].is_own("a", clip_message(next_one))
    assert three[0].left_to_others == 1
    # The oldest answer is forgotten: the clip waits for another one.
    assert not three[0].is_own("a", clip_message(oldest))
    assert three[0].left_to_others == 1
