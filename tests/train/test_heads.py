"""Heads: gradients against finite differences, and the exported graph against numpy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listener.inference.onnx import HeadNet
from listener.train.features import FIRST_WINDOW, WINDOW_FRAMES
from listener.train.graph import export
from listener.train.heads import INPUTS, DenseHead, Ensemble, Standard, fit_standard, gather
from listener.train.negatives import Stream
from listener.train.optimise import HeadTrainer, Pool
from listener.train.training import choose_heads, find_highest
from listener.wakeword.embedding import FEATURES


def ensemble(seed: int = 0, widths: tuple[int, ...] = (8, 8, 12)) -> Ensemble:
    random = np.random.default_rng(seed)
    standard = Standard(
        random.standard_normal(INPUTS).astype(np.float32) * 3,
        (1 + random.random(INPUTS)).astype(np.float32),
    )
    return Ensemble(standard, tuple(DenseHead(width, random) for width in widths))


def test_gradients_equal_finite_differences() -> None:
    random = np.random.default_rng(3)
    head = DenseHead(8, random)
    # In double precision, so that differences are exact enough.
    parameters: Any = [each + 0.01 * random.standard_normal(each.shape) for each in head.parameters]
    head.parameters = parameters
    inputs: Any = random.standard_normal((5, INPUTS))
    upstream: Any = random.standard_normal(5)
    _, cache = head.forward(inputs, None)
    gradients = head.backward(cache, upstream)

    for parameter, gradient in zip(head.parameters, gradients, strict=True):
        for _ in range(4):
            place = tuple(int(random.integers(size)) for size in parameter.shape)
            before = parameter[place]
            sums = []
            for change in (1e-5, -1e-5):
                parameter[place] = before + change
                sums.append(float((head.forward(inputs, None)[0] * upstream).sum()))
            parameter[place] = before
            assert gradient[place] == pytest.approx((sums[0] - sums[1]) / 2e-5, abs=1e-5, rel=1e-4)


def test_graph_gives_the_mean_of_the_heads() -> None:
    heads = ensemble()
    net = HeadNet(export(heads, 0.25, "test"), "test")
    random = np.random.default_rng(4)
    windows = (random.standard_normal((50, WINDOW_FRAMES, FEATURES)) * 9).astype(np.float32)

    scores = np.array([float(net.score(window)[0]) for window in windows])

    expected = 1 / (1 + np.exp(-(heads.score(windows.reshape(50, INPUTS)) + 0.25)))
    np.testing.assert_allclose(scores, expected, atol=2e-5)


def test_heads_that_score_other_speech_lowest_are_chosen() -> None:
    random = np.random.default_rng(5)
    heads = [DenseHead(8, random) for _ in range(5)]

    chosen = choose_heads(heads, [2.0, -1.0, 7.0, -1.0, 0.5])

    assert chosen == (heads[1], heads[3], heads[4])


def test_highest_score_is_one_that_two_frames_in_a_row_have() -> None:
    random = np.random.default_rng(6)
    head = DenseHead(8, random)
    standard = ensemble().standard
    embeddings = random.standard_normal((40, FEATURES)).astype(np.float32)
    short = Stream("short", embeddings[:4])

    found = find_highest(standard, head, [Stream("long", embeddings), short])

    ends = range(FIRST_WINDOW, 40)
    logits = Ensemble(standard, (head,)).score(gather(embeddings, ends))
    assert found == pytest.approx(float(np.minimum(logits[1:], logits[:-1]).max()), abs=1e-4)


def test_graph_is_the_same_bytes_for_the_same_heads() -> None:
    assert export(ensemble(), 0.5, "test") == export(ensemble(), 0.5, "test")
    assert export(ensemble(), 0.5, "test") != export(ensemble(1), 0.5, "test")


@pytest.mark.filterwarnings(
    "ignore:Specified provider 'CUDAExecutionProvider' is not in available:UserWarning"
)
def test_graph_runs_in_openwakeword(tmp_path: Path) -> None:
    model = pytest.importorskip("openwakeword.model")
    file = tmp_path / "test.onnx"
    file.write_bytes(export(ensemble(), 0.0, "test"))

    library = model.Model(wakeword_model_paths=[str(file)])
    scores = [library.predict(np.zeros(1280, np.int16))["test"] for _ in range(8)]

    assert 0 < scores[-1] < 1


def pools(random: np.random.Generator) -> list[Pool]:
    """A word that is a bump in ten features, and noise."""
    word = random.standard_normal((800, FEATURES)).astype(np.float32)
    ends = np.arange(20, 800, 20)
    for end in ends:
        word[end - 3 : end, 5:15] += 4
    noise = random.standard_normal((800, FEATURES)).astype(np.float32)
    others = np.arange(20, 800)
    return [
        Pool("word", word, ends, 1.0, is_word=True),
        Pool("noise", noise, others, 1.0, is_word=False),
    ]


def trained(made: list[Pool], standard: Standard, steps: int) -> DenseHead:
    head = DenseHead(32, np.random.default_rng(6))
    HeadTrainer(standard, made, steps).train(head, np.random.default_rng(7))
    return head


@pytest.mark.timeout(240)  # seconds of arithmetic, on every core at once
def test_training_separates_word_from_noise() -> None:
    made = pools(np.random.default_rng(5))
    standard = fit_standard(np.concatenate([gather(p.embeddings, p.ends) for p in made]))

    head = trained(made, standard, 120)

    fresh = pools(np.random.default_rng(8))
    scores = [
        head.forward(standard.apply(gather(pool.embeddings, pool.ends)), None)[0] for pool in fresh
    ]
    assert np.median(scores[0]) > np.quantile(scores[1], 0.95)


def test_training_is_deterministic() -> None:
    made = pools(np.random.default_rng(5))
    standard = fit_standard(np.concatenate([gather(p.embeddings, p.ends) for p in made]))

    first, second = (trained(made, standard, 12) for _ in range(2))

    fresh = DenseHead(32, np.random.default_rng(6))
    assert all((a == b).all() for a, b in zip(first.parameters, second.parameters, strict=True))
    assert any((a != b).any() for a, b in zip(first.parameters, fresh.parameters, strict=True))
