"""A first stage chooses the steps that are scored; those that are scored are exact."""

from collections.abc import Callable, Iterator, Sequence
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples
from listener.inference.onnx import StreamNet
from listener.wakeword.detector import Rule, Step, StreamDetector, Wake
from listener.wakeword.embedding import Embeddings
from listener.wakeword.features import Floats, Mel
from listener.wakeword.first_stage import (
    HOLD_FRAMES,
    CatchUp,
    FirstStage,
    OpenSteps,
    StageWord,
)
from listener.wakeword.streaming import CATCH_UP_FRAMES, StreamingModel, Word, pace_steps
from listener.wakeword.student import StudentNet
from listener.wakeword.student_head import StudentHeadWeights
from models.embedding.convert import MODELS
from tests.wakeword.students import random_student, random_student_head

WEIGHTS = np.load(MODELS / "embedding" / "mel.npy")
NETWORKS = {
    8: StreamNet((MODELS / "embedding-long" / "stream-long.onnx").read_bytes(), "test"),
    4: StreamNet((MODELS / "embedding" / "stream-40.onnx").read_bytes(), "test"),
}
STUDENT = random_student(16, (4, 4, 4))
SAME = 1e-4


class CalledHead:
    """Scores 1 at the calls whose numbers are given, else a number of the window."""

    def __init__(self, *ones: int) -> None:
        self.ones = ones
        self.windows: list[Floats] = []

    def score(self, window: Floats) -> Floats:
        self.windows.append(window.copy())
        number = 0.5 * float(np.tanh(window.mean() / 20)) ** 2
        return np.array([1.0 if len(self.windows) in self.ones else number], np.float32)

    def wipe(self) -> None:
        self.windows.clear()


def two_stages(
    hop: int, window: int, opens_at: tuple[int, ...], *, lazy: bool = False
) -> tuple[StreamingModel, CalledHead, CalledHead]:
    """A model, the head on the student's embeddings, and the head on the network's.

    The first stage opens at the calls of its head with the given numbers; see `step_of`.
    """
    gate_head, head = CalledHead(*opens_at), CalledHead()
    first = FirstStage(
        StudentNet(STUDENT, hop),
        [StageWord(Word("alexa", gate_head, window), 0.75)],
        8 // hop,
    )
    model = StreamingModel(
        Mel(WEIGHTS, hop),
        Embeddings(NETWORKS[hop], window),
        [Word("alexa", head, window)],
        lazy=lazy,
        first_stage=first,
    )
    return model, gate_head, head


def step_of(call: int, hop: int = 8) -> int:
    """The step of a call of a head: every second one from the end of the first 5 frames on."""
    return (5 * 8 // hop | 1) + 2 * (call - 1)


def full_scores(hop: int, window: int, frames: list[Samples]) -> Floats:
    model = StreamingModel(
        Mel(WEIGHTS, hop), Embeddings(NETWORKS[hop], window), [Word("alexa", CalledHead(), window)]
    )
    model.restart()
    return np.concatenate([model.push(frame).copy() for frame in frames])[:, 0]


def noise(frames: int, seed: int = 3) -> list[Samples]:
    random = np.random.default_rng(seed)
    return list(random.integers(-6000, 6000, (frames, FRAME_SAMPLES)).astype(np.int16))


@pytest.mark.parametrize("hop", [8, 4])
@pytest.mark.parametrize("opens_at", [(1,), (10,), (15, 17), (20, 35), (22, 22 + 2 * HOLD_FRAMES)])
def test_scored_steps_are_exact_and_the_others_have_no_score(
    hop: int, opens_at: tuple[int, ...]
) -> None:
    frames = noise(90)
    expected = full_scores(hop, 16, frames)
    model, _, _ = two_stages(hop, 16, opens_at)

    pushed = [model.push(frame)[:, 0].copy() for frame in frames]

    scores = np.concatenate(pushed)
    steps = 8 // hop
    opened = np.zeros(len(scores), np.bool_)
    for call in opens_at:
        first = step_of(call, hop)
        opened[first : first + HOLD_FRAMES * steps] = True
    assert len(scores) == len(expected)
    np.testing.assert_array_equal(~np.isnan(scores[5 * steps :]), opened[5 * steps :])
    np.testing.assert_allclose(scores[opened], expected[opened], rtol=0, atol=SAME)
    assert not scores[: 5 * steps].any()


@pytest.mark.parametrize("hop", [8, 4])
def test_network_catches_up_over_several_frames(hop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 8 // hop
    model, _, head = two_stages(hop, 16, (30 * steps,))
    taken: list[int] = []
    network = NETWORKS[hop]
    run = network.steps
    count = 0

    def counted(mels: Sequence[Floats]) -> Iterator[Floats]:
        nonlocal count
        count += len(mels)
        return run(mels)

    monkeypatch.setattr(network, "steps", counted)
    rows = []
    for frame in noise(80):
        count = 0
        rows.append(len(model.push(frame)))
        taken.append(count)

    at = step_of(30 * steps, hop) // steps
    assert sum(taken[:at]) == 0
    assert max(taken) <= 9 * steps
    # Rows wait while the network catches up, then come together; none is lost.
    assert rows[at] < steps
    assert max(rows) > steps
    assert rows.index(max(rows)) - at <= CATCH_UP_FRAMES
    assert sum(rows) == 80 * steps
    assert len(head.windows) == HOLD_FRAMES * steps


def test_network_catches_up_by_groups_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = two_stages(8, 16, (30,))
    alone = 0
    step = NETWORKS[8].step

    def counted(mel: Floats) -> Floats:
        nonlocal alone
        alone += 1
        return step(mel)

    monkeypatch.setattr(NETWORKS[8], "step", counted)
    for frame in noise(80):
        model.push(frame)

    # 25 steps and the two that come meanwhile are three groups; the last open step is alone.
    assert alone == HOLD_FRAMES - CATCH_UP_FRAMES


def test_older_part_of_a_long_window_is_the_students() -> None:
    model, gate_head, head = two_stages(8, 34, (30,))
    for frame in noise(70):
        model.push(frame)
    exact = StreamingModel(
        Mel(WEIGHTS, 8), Embeddings(NETWORKS[8], 34), [Word("alexa", full := CalledHead(), 34)]
    )
    exact.restart()
    for frame in noise(70):
        exact.push(frame)

    window, expected = head.windows[0], full.windows[step_of(30) - 5]

    np.testing.assert_allclose(window[-16:], expected[-16:], rtol=0, atol=1e-3)
    np.testing.assert_array_equal(window[:-16], gate_head.windows[29][:-16])


def test_words_open_by_themselves() -> None:
    heads = CalledHead(5), CalledHead(6)
    words = [Word(name, CalledHead(), 16) for name in ("alexa", "mycroft")]
    first = FirstStage(
        StudentNet(STUDENT, 8),
        [StageWord(Word(w.name, h, 16), 0.75) for w, h in zip(words, heads, strict=True)],
        1,
    )
    model = StreamingModel(Mel(WEIGHTS, 8), Embeddings(NETWORKS[8], 16), words, first_stage=first)

    scores = np.concatenate([model.push(frame).copy() for frame in noise(30)])[5:]

    opened = ~np.isnan(scores)
    np.testing.assert_array_equal(np.flatnonzero(opened[:, 0]), np.arange(8, 8 + HOLD_FRAMES))
    np.testing.assert_array_equal(np.flatnonzero(opened[:, 1]), np.arange(10, 10 + HOLD_FRAMES))


def test_quiet_room_runs_neither_network() -> None:
    model, gate_head, head = two_stages(8, 16, (), lazy=True)
    silence = np.zeros(FRAME_SAMPLES, np.int16)

    for _ in range(60):
        model.push(silence)

    # 25 steps hold the mel frames of a window; the first counts as loud, and 5 have no score. Every
    # second step of the other 20 is scored.
    assert len(gate_head.windows) == 10
    assert not head.windows


def test_student_catches_up_after_a_quiet_room() -> None:
    model, gate_head, _ = two_stages(8, 16, (), lazy=True)
    awake, awake_head, _ = two_stages(8, 16, ())
    frames = [*[np.zeros(FRAME_SAMPLES, np.int16)] * 60, *noise(20)]

    for frame in frames:
        model.push(frame)
    for frame in frames:
        awake.push(frame)

    for ours, expected in zip(gate_head.windows[-10:], awake_head.windows[-10:], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=SAME)


def test_restart_overwrites_everything_and_starts_anew() -> None:
    model, _, _ = two_stages(8, 16, (30,))
    frames = noise(40)
    first = np.concatenate([model.push(frame).copy() for frame in frames[:39]])

    model.restart()

    assert not model._stored.any()  # noqa: SLF001 - nothing of the sound may stay
    assert not model._scores.any()  # noqa: SLF001 - nothing of the sound may stay
    again = np.concatenate([model.push(frame).copy() for frame in frames[:39]])
    np.testing.assert_array_equal(first, again)


def test_wake_in_pending_steps_has_the_end_of_its_step() -> None:
    model, _, head = two_stages(8, 16, (30,))
    head.ones = (1,)
    detector = StreamDetector(model, {"alexa": Rule(0.9)})
    detector.push(Gap(GapReason.START, 0))
    found: list[tuple[int, Wake]] = []
    ends: list[int] = []

    for number, samples in enumerate(noise(80)):
        frame = Frame(samples, number * FRAME_SAMPLES)
        for event in detector.push(frame):
            assert isinstance(event, Wake)
            found.append((frame.end_sample, event))
        ends += [step.end_sample for step in detector.steps]

    ((pushed, wake),) = found
    assert wake.end_sample == (step_of(30) + 1) * FRAME_SAMPLES
    assert 0 < pushed - wake.end_sample < CATCH_UP_FRAMES * FRAME_SAMPLES
    assert ends == [(number + 1) * FRAME_SAMPLES for number in range(80)]


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.lists(st.integers(1, 20), min_size=1, max_size=10),
)
def test_open_steps_do_not_depend_on_the_batches(scores: list[float], sizes: list[int]) -> None:
    column = np.array(scores, np.float32)[:, None]
    whole = OpenSteps([16]).push(column >= 0.75)
    parts, rest = OpenSteps([16]), column >= 0.75
    pieces = []
    turn = 0
    while len(rest):
        size = sizes[turn % len(sizes)]
        pieces.append(parts.push(rest[:size]))
        rest = rest[size:]
        turn += 1

    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    expected = [
        any(
            scores[step] >= 0.75 and step % 2
            for step in range(max(0, at - HOLD_FRAMES + 1), at + 1)
        )
        for at in range(len(scores))
    ]
    assert whole[:, 0].tolist() == expected


def test_steps_without_scores_have_none_in_the_report(
    frames_of: Callable[[list[Samples]], list[Frame]],
) -> None:
    model, _, _ = two_stages(8, 16, (15,))
    detector = StreamDetector(model, {"alexa": Rule(0.9)})

    steps: list[Step] = []
    for frame in frames_of(noise(60)):
        detector.push(frame)
        steps += detector.steps

    scored = [bool(step.scores) for step in steps]
    assert scored == [True] * 5 + [False] * 28 + [True] * HOLD_FRAMES + [False] * (27 - HOLD_FRAMES)


@pytest.fixture
def frames_of() -> Callable[[list[Samples]], list[Frame]]:
    def frames(blocks: list[Samples]) -> list[Frame]:
        return [Frame(block, number * FRAME_SAMPLES) for number, block in enumerate(blocks)]

    return frames


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 27), max_size=6))
def test_recordings_know_how_late_a_stream_has_its_scores(opens_at: set[int]) -> None:
    model, _, _ = two_stages(8, 16, tuple(opens_at))
    frames = np.random.default_rng(3).normal(0, 900, (60, FRAME_SAMPLES)).astype(np.int16)
    reach = 25
    schedule = CatchUp(reach, pace_steps(reach, 1))
    opened_until = 0
    expected = []

    came: list[int] = []
    network = NETWORKS[8]
    with mock.patch.object(network, "steps", wraps=network.steps) as taken:
        for step, frame in enumerate(frames):
            came += [step] * len(model.push(frame))
            if any(step == step_of(call) for call in opens_at):
                opened_until = step + HOLD_FRAMES
            expected.append(schedule.push(is_open=step < opened_until))

    late = [at - step for step, at in enumerate(came)]
    assert late == expected[: len(late)]
    assert len(frames) - len(late) < CATCH_UP_FRAMES
    assert schedule.computed_steps == sum(len(call.args[0]) for call in taken.call_args_list)


class ScriptedHead:
    """Scores what the head of a word would at each step; knows the step by its number."""

    def __init__(self, scores: list[float], steps: list[int]) -> None:
        self.scores, self.steps = scores, steps

    def score(self, _: Floats) -> Floats:
        return np.array([self.scores[self.steps[-1]]], np.float32)

    def wipe(self) -> None:
        """Keep nothing."""


@settings(deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda words: st.lists(
            st.lists(st.floats(0, 1, width=32), min_size=words, max_size=words),
            min_size=1,
            max_size=40,
        )
    )
)
def test_heads_take_the_same_turns_in_a_stream_and_in_a_recording(rows: list[list[float]]) -> None:
    words = len(rows[0])
    steps: list[int] = []
    windows = [20 if number % 3 == 1 else 16 for number in range(words)]
    heads = [
        Word(f"word-{number}", ScriptedHead([row[number] for row in rows], steps), window)
        for number, window in enumerate(windows)
    ]
    stream = FirstStage(StudentNet(STUDENT, 8), [StageWord(head, 0.75) for head in heads], 1)
    mel = np.zeros((8, 32), np.float32)

    opened = []
    for number in range(len(rows)):
        steps.append(number)
        opened.append(stream.step(mel, number, is_scored=True))

    expected = OpenSteps(windows).push(np.array(rows, np.float32) >= 0.75)
    np.testing.assert_array_equal(opened, expected)


def constant_head(score: float) -> StudentHeadWeights:
    """A student head with one score for every window."""
    bias = np.array([np.log(score / (1 - score))], np.float32)
    drawn = random_student_head(4, 4)
    last = np.zeros((4, 1), np.float32)
    return StudentHeadWeights((*drawn.matrices[:2], last), (*drawn.biases[:2], bias))


@pytest.mark.parametrize(
    ("student_score", "own_score", "own_bound", "opened", "asked"),
    [
        (0.5, 0.8, 0.75, (True, False), 1),
        (0.5, 0.7, 0.75, (False, False), 1),
        (0.2, 0.8, 0.75, (False, False), 0),
        (0.5, 0.0, None, (True, False), 0),
    ],
)
def test_word_opens_where_its_student_head_and_its_own_head_reach_their_bounds(
    student_score: float,
    own_score: float,
    own_bound: float | None,
    opened: tuple[bool, bool],
    asked: int,
) -> None:
    own = mock.Mock(wraps=ScriptedHead([own_score] * 2, [0]))
    words = [
        StageWord(Word("timer", own, 34), own_bound, constant_head(student_score), 0.3),
        StageWord(Word("weather", own, 22), 0.75, constant_head(0.2), 0.3),
    ]
    stage = FirstStage(StudentNet(STUDENT, 8), words, 1)
    mel = np.zeros((8, 32), np.float32)

    found = [stage.step(mel, number, is_scored=True) for number in range(2)]

    assert found == [(False, False), opened]
    assert own.score.call_count == asked
