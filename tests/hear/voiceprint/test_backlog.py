"""Backlog of the listen loop in simulated time: no frame waits while voices are compared."""

import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, Samples
from listener.config import AttributionSettings
from listener.errors import Unavailable
from listener.hear import events
from listener.hear.voiceprint.embedding_protocol import SPEECH_STEP_SAMPLES
from listener.hear.voiceprint.voice_attribution import LONGEST_S, VoiceAttribution
from listener.voiceprint.scoring import DEFAULT_THRESHOLD, EnrolledVoice
from listener.wakeword.detector import Wake
from listener.wakeword.features import Floats
from tests.fakes import told
from tests.hear.pipeline_fixture import PipelineFixture
from tests.system.conftest import wait_until

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
LIMIT_S = 60.0
"""Of a wait that ends at once where nothing blocks, on a machine of any load."""
LOUD, QUIET = 5_000, 3
VOICE: Floats = np.eye(1, 192, dtype=np.float32)[0]
SPEECH = (20, 45)
"""First frame and end of each command, from its own begin."""
ENDED = 65
"""A frame by which its clip has ended."""


class SimulatedTime:
    """Clock that the test advances, and for which other threads wait."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._changed = threading.Condition()
        self._waiting: list[float] = []

    def advance(self, to_s: float) -> None:
        """Set the time, and let every thread go on that waited for it."""
        with self._changed:
            self.now_s = to_s
            self._changed.notify_all()
            assert self._changed.wait_for(
                lambda: all(at_s > to_s for at_s in self._waiting), LIMIT_S
            )

    @property
    def is_waited_for(self) -> bool:
        return bool(self._waiting)

    def wait_until(self, at_s: float) -> None:
        with self._changed:
            self._waiting.append(at_s)
            assert self._changed.wait_for(lambda: self.now_s >= at_s, LIMIT_S)
            self._waiting.remove(at_s)
            self._changed.notify_all()


class SlowComparer:
    """A process on a loaded core: every answer takes some of the simulated time."""

    def __init__(self, time: SimulatedTime, answer_s: float) -> None:
        self._time, self._answer_s = time, answer_s
        self.clips = 0
        """Clips that were begun to be compared."""
        self.is_asked = False

    def detect_speech(self, samples: Samples, deadline_s: float) -> Floats:
        self.is_asked = True
        self.clips += 1
        self._work(deadline_s)
        return np.ones(len(samples) // SPEECH_STEP_SAMPLES, np.float32)

    def embed(self, pieces: Sequence[Samples], deadline_s: float) -> Floats:
        del pieces
        self._work(deadline_s)
        return VOICE

    def reset(self) -> None:
        self.is_asked = False

    def _work(self, deadline_s: float) -> None:
        ready_s = self._time.now_s + self._answer_s
        self._time.wait_until(min(ready_s, deadline_s))
        if ready_s > deadline_s:
            raise Unavailable("it took too long")


class SimulatedDevice:
    """The listen loop in its thread, and a microphone with a frame in each period."""

    def __init__(self, answer_s: float, *wakes: Wake) -> None:
        self._time = SimulatedTime()
        self.comparer = SlowComparer(self._time, answer_s)
        voices = {"ada": EnrolledVoice(VOICE, DEFAULT_THRESHOLD)}
        attribution = VoiceAttribution(
            AttributionSettings(mode="voice", bystanders="keep"),
            keeper="ada",
            roster=lambda: self.pipeline.device.roster,
            voices=lambda _: voices,
            comparer=self.comparer,
            monotonic_s=lambda: self._time.now_s,
        )
        self.pipeline = PipelineFixture(*wakes, attribution=attribution, is_blocking=False)
        self._frames: queue.Queue[Frame | None] = queue.Queue()
        self._thread = threading.Thread(target=self._loop, name="listen loop")
        self._thread.start()

    def outcomes(self) -> list[events.Event]:
        """Return the end of each clip."""
        ends = (events.SealedEvent, events.NotKeptEvent)
        return [event for event in self.pipeline.events if isinstance(event, ends)]

    def wait_until_asked(self) -> None:
        wait_until(lambda: self.comparer.clips > 0, "the comparison", LIMIT_S)

    def hear(self, *frames: Frame) -> int:
        """Take frames when they are due; return how many came while voices were compared."""
        during = 0
        for frame in frames:
            during += self.comparer.is_asked
            due_s = frame.end_sample / SAMPLE_RATE_HZ
            self.pipeline.clock_s = due_s
            self._time.advance(due_s)
            assert self._frames.empty(), "the next frame is due, and this one still waits"
            self._frames.put(frame)
            with self._frames.all_tasks_done:
                is_processed = self._frames.all_tasks_done.wait_for(
                    lambda: not self._frames.unfinished_tasks, LIMIT_S
                )
            assert is_processed, "the loop waits for the comparison"
            # The sealer's own work takes no simulated time.
            wait_until(self._is_sealer_settled, "the sealer", LIMIT_S)
        return during

    def _is_sealer_settled(self) -> bool:
        return self._time.is_waited_for or self.comparer.clips <= len(self.outcomes())

    def close(self) -> None:
        """End both threads; the time goes on until the sealer has ended."""
        self._frames.put(None)
        self._thread.join(LIMIT_S)
        self._time.advance(float("inf"))
        self.pipeline.sealer.close()

    def _loop(self) -> None:
        while (frame := self._frames.get()) is not None:
            self.pipeline.loop.process(frame)
            self._frames.task_done()
        self._frames.task_done()


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[SimulatedDevice]:
    """Two commands, the second while the first is compared."""
    wakes = (Wake("alexa", 0.9, (first + 30) * FRAME_SAMPLES, 0.5) for first in (0, ENDED))
    made = SimulatedDevice(request.param, *wakes)
    yield made
    made.close()


def command(first: int) -> list[Frame]:
    """Return the frames until the clip of a command has ended."""
    begin, end = (first + frame for frame in SPEECH)
    quiet = told(begin - first, first * FRAME_SAMPLES, QUIET)
    loud = told(end - begin, begin * FRAME_SAMPLES, LOUD)
    return quiet + loud + told(first + ENDED - end, end * FRAME_SAMPLES, QUIET)


@pytest.mark.parametrize(
    ("device", "outcome"),
    [
        (0.9, events.SealedEvent),
        (LONGEST_S / 2 - 0.1, events.SealedEvent),
        (1_000.0, events.NotKeptEvent),
    ],
    indirect=["device"],
)
def test_loop_processes_each_frame_before_the_next_is_due(
    device: SimulatedDevice, outcome: type[events.Event]
) -> None:
    device.hear(*command(0))
    device.wait_until_asked()

    during = device.hear(*command(ENDED), *told(200, 2 * ENDED * FRAME_SAMPLES, QUIET))

    assert during * FRAME_S >= 1.5, "long enough to show a loop that waits"
    assert device.pipeline.counters.tally().wakes == 2
    assert isinstance(device.outcomes()[0], outcome)
    assert device.pipeline.counters.voices().unsure == len(
        [one for one in device.outcomes() if isinstance(one, events.NotKeptEvent)]
    )
