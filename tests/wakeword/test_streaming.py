import numpy as np
import pytest

from listener.inference.onnx import StreamNet
from listener.wakeword.embedding import FEATURES, Embeddings
from listener.wakeword.features import BANDS, Floats, Mel
from listener.wakeword.streaming import FAINT_SCORE, EnergyGate, StreamingModel, Word
from models.embedding.convert import MODELS

WEIGHTS = np.load(MODELS / "embedding" / "mel.npy")
NETWORK = StreamNet((MODELS / "embedding" / "stream-80.onnx").read_bytes(), "test")
SILENCE = np.zeros(1280, np.int16)


class ScriptedHead:
    """Gives the same outputs at each step, and counts how often it was asked."""

    def __init__(self, *outputs: float) -> None:
        self.outputs = np.array(outputs, np.float32)
        self.windows: list[Floats] = []

    def score(self, window: Floats) -> Floats:
        self.windows.append(window.copy())
        return self.outputs

    def wipe(self) -> None:
        self.windows.clear()


def model(*words: Word, lazy: bool = False) -> StreamingModel:
    longest = max(word.window_frames for word in words)
    return StreamingModel(Mel(WEIGHTS, 8), Embeddings(NETWORK, longest), words, lazy=lazy)


def test_first_five_frames_have_score_0() -> None:
    streaming = model(Word("alexa", ScriptedHead(0.75), 16))

    scores = [float(streaming.push(SILENCE)[0, 0]) for _ in range(7)]

    assert scores == [0, 0, 0, 0, 0, 0.75, 0.75]


def test_head_receives_its_window_of_embeddings() -> None:
    short, long = ScriptedHead(0.0), ScriptedHead(0.0)
    streaming = model(Word("short", short, 5), Word("long", long, 30))

    for _ in range(6):
        streaming.push(SILENCE)

    assert short.windows[0].shape == (5, FEATURES)
    assert long.windows[0].shape == (30, FEATURES)


def test_word_score_is_the_maximum_over_its_labels() -> None:
    timer = Word("timer", ScriptedHead(0.875, 0.125, 0.5), 16, ((1, "one"), (2, "two")))
    streaming = model(Word("alexa", ScriptedHead(0.25), 16), timer)

    scores = [streaming.push(SILENCE).tolist() for _ in range(6)]

    assert streaming.words == ("alexa", "timer")
    assert streaming.columns == ("alexa", "timer", "one", "two")
    # Output 0 has no label: it is none of them.
    assert scores[-1] == [[0.25, 0.5, 0.125, 0.5]]


def test_lazy_mode_runs_no_head_after_a_quiet_window() -> None:
    head = ScriptedHead(0.001)
    streaming = model(Word("alexa", head, 16), lazy=True)

    put_off = [bool(np.isnan(streaming.push(SILENCE)[0, 0])) for _ in range(60)]

    # 25 steps hold the 196 mel frames of a window; the first counts as loud.
    assert put_off == [False] * 25 + [True] * 35
    assert len(head.windows) == 20


def test_faint_score_keeps_the_heads_running() -> None:
    head = ScriptedHead(FAINT_SCORE * 1.01)
    streaming = model(Word("alexa", head, 16), lazy=True)

    put_off = [bool(np.isnan(streaming.push(SILENCE)[0, 0])) for _ in range(60)]

    assert not any(put_off)


@pytest.mark.parametrize("quiet_steps", [26, 30, 48, 49, 50, 51, 90])
def test_deferred_steps_are_computed_when_the_level_rises(quiet_steps: int) -> None:
    lazy_head, head = ScriptedHead(0.0), ScriptedHead(0.0)
    lazy = model(Word("alexa", lazy_head, 16), lazy=True)
    full = model(Word("alexa", head, 16))
    random = np.random.default_rng(quiet_steps)
    quiet = random.integers(-3, 4, (quiet_steps, 1280)).astype(np.int16)
    loud = random.integers(-9000, 9000, (20, 1280)).astype(np.int16)

    # The two models share one network, so one is done before the other begins.
    for samples in (*quiet, *loud):
        lazy.push(samples)
    full.restart()
    for samples in (*quiet, *loud):
        full.push(samples)

    assert len(lazy_head.windows) < len(head.windows)
    for ours, expected in zip(lazy_head.windows[-20:], head.windows[-20:], strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_reset_clears_steps_scores_and_windows() -> None:
    head = ScriptedHead(0.75)
    streaming = model(Word("alexa", head, 16), lazy=True)
    for _ in range(8):
        streaming.push(SILENCE)

    streaming.restart()

    assert head.windows == []
    assert [float(streaming.push(SILENCE)[0, 0]) for _ in range(6)] == [0] * 5 + [0.75]


def room(level: float, steps: int, hop: int, seed: int = 0) -> list[Floats]:
    random = np.random.default_rng(seed)
    # What the logarithm of a steady noise's power scatters like, after a band has averaged a few
    # bins of its spectrum.
    scatter = np.log10(random.gamma(3, 1 / 3, (steps, hop, BANDS)))
    return list((level + scatter).astype(np.float32))


@pytest.fixture(params=[8, 4])
def hop(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_steady_noise_is_quiet_at_any_level(hop: int) -> None:
    for level in (-8, 0, 3, 6):
        quiet = EnergyGate(hop)

        loud = [quiet.is_loud(mel) for mel in room(level, 2000, hop)]

        assert sum(loud[100:]) <= 2


def test_first_80_ms_count_as_loud(hop: int) -> None:
    quiet = EnergyGate(hop)

    loud = [quiet.is_loud(mel) for mel in room(3, 10, hop)]

    assert loud[: 8 // hop] == [True] * (8 // hop)


@pytest.mark.parametrize("bands", [slice(0, 8), slice(8, 16), slice(24, 32)])
def test_rise_in_a_quarter_of_the_bands_is_loud(hop: int, bands: slice) -> None:
    quiet = EnergyGate(hop)
    for mel in room(3, 500, hop):
        quiet.is_loud(mel)
    risen = room(3, 20, hop, seed=1)
    for mel in risen:
        mel[:, bands] += 0.9

    assert any(quiet.is_loud(mel) for mel in risen)


def test_single_loud_frame_is_loud(hop: int) -> None:
    quiet = EnergyGate(hop)
    for mel in room(3, 500, hop):
        quiet.is_loud(mel)
    click = room(3, 1, hop)[0]
    click[1] += 2

    assert quiet.is_loud(click)


def test_lasting_higher_noise_level_becomes_quiet(hop: int) -> None:
    quiet = EnergyGate(hop)
    for mel in room(2, 500, hop):
        quiet.is_loud(mel)

    # 10 dB louder, for 20 s.
    loud = [quiet.is_loud(mel) for mel in room(3, 2000 // hop, hop, seed=2)]

    assert all(loud[1 : 200 // hop])
    assert not any(loud[1500 // hop :])


def test_noise_floor_recovers_in_seconds_after_digital_silence(hop: int) -> None:
    quiet = EnergyGate(hop)
    silence = np.full((hop, BANDS), -8, np.float32)
    for _ in range(200):
        quiet.is_loud(silence)

    loud = [quiet.is_loud(mel) for mel in room(1, 4000 // hop, hop)]

    assert not any(loud[2500 // hop :])


def test_reset_clears_the_noise_floor(hop: int) -> None:
    quiet = EnergyGate(hop)
    for mel in room(0, 100, hop):
        quiet.is_loud(mel)

    quiet.restart()

    loud = [quiet.is_loud(mel) for mel in room(5, 200, hop)]
    assert sum(loud[8 // hop :]) <= 2
