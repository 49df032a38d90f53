from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.inference.onnx import StreamNet
from listener.wakeword.embedding import FEATURES, Embeddings
from listener.wakeword.features import BANDS
from models.embedding.convert import MODELS

NETWORKS = {
    hop: StreamNet((MODELS / "embedding" / f"stream-{hop}0.onnx").read_bytes(), "test")
    for hop in (8, 4)
}
GROUPED = StreamNet((MODELS / "embedding-long" / "stream-long.onnx").read_bytes(), "test")


@pytest.fixture(scope="session")
def original_embedding(original: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Ask the original network about a window of 76 mel frames."""
    network = original("embedding_model")
    return lambda mel: network.run(None, {"input_1": mel[None, :, :, None]})[0].reshape(FEATURES)


def mel_frames(seed: int, count: int) -> Any:
    random = np.random.default_rng(seed)
    drift = np.cumsum(random.standard_normal((count, BANDS)) / 4, axis=0)
    return (4 + drift + random.standard_normal((count, BANDS))).astype(np.float32)


@pytest.mark.parametrize("hop", [8, 4])
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 50))
@settings(max_examples=20)
def test_streaming_embedding_equals_the_original_network(
    original_embedding: Callable[[Any], Any], hop: int, seed: int, steps: int
) -> None:
    embeddings = Embeddings(NETWORKS[hop], 16)
    mel = mel_frames(seed, steps * hop)
    # openWakeWord's mel frames before the first are ones.
    heard = np.concatenate([np.ones((76, BANDS), np.float32), mel])

    for first in range(0, len(mel), hop):
        embeddings.step(mel[first : first + hop])

    for back in range(min(16, -(-steps * hop // 8))):
        window = heard[len(heard) - 8 * back - 76 : len(heard) - 8 * back]
        ours = embeddings.window(16)[15 - back]
        # They range from -66 to 79; what is left is rounding.
        np.testing.assert_allclose(ours, original_embedding(window), atol=1e-3)


@pytest.mark.parametrize("hop", [8, 4])
def test_first_step_is_preceded_by_silence(
    original_embedding: Callable[[Any], Any], hop: int
) -> None:
    silence = original_embedding(np.full((76, BANDS), -8, np.float32))

    embeddings = Embeddings(NETWORKS[hop], 34)

    assert embeddings.window(34).shape == (34, FEATURES)
    np.testing.assert_allclose(
        embeddings.window(34), np.broadcast_to(silence, (34, FEATURES)), atol=1e-3
    )


@pytest.mark.parametrize("hop", [8, 4])
def test_embeddings_after_reset_equal_a_new_start(hop: int) -> None:
    embeddings = Embeddings(NETWORKS[hop], 16)
    mel = mel_frames(3, 5 * hop)

    def heard() -> Any:
        for first in range(0, len(mel), hop):
            embeddings.step(mel[first : first + hop])
        return embeddings.window(16).copy()

    before = heard()
    embeddings.restart()

    np.testing.assert_array_equal(heard(), before)


def test_windows_of_different_lengths_end_at_the_same_step() -> None:
    embeddings = Embeddings(NETWORKS[8], 34)
    for step in range(40):
        embeddings.step(mel_frames(step, 8))

    long, short = embeddings.window(34), embeddings.window(16)

    np.testing.assert_array_equal(long[-16:], short)
    assert len(np.unique(long[:, 0])) == 34


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 14), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_steps_at_once_equal_steps_one_by_one(seed: int, sizes: list[int]) -> None:
    at_once, one_by_one = GROUPED, NETWORKS[8]
    state = one_by_one.state()
    mels = mel_frames(seed, 8 * sum(sizes)).reshape(-1, 8, BANDS)
    expected = [one_by_one.step(mel).copy() for mel in mels]
    after = one_by_one.state()

    at_once.resume(state)
    rest = list(mels)
    found = []
    for size in sizes:
        found += [embedding.copy() for embedding in at_once.steps(rest[:size])]
        rest = rest[size:]

    # They range from -66 to 79; what is left is rounding.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    for column, other in zip(at_once.state(), after, strict=True):
        np.testing.assert_allclose(column, other, rtol=0, atol=1e-4)


def test_resume_overwrites_what_groups_of_steps_took() -> None:
    state = GROUPED.state()
    for _ in GROUPED.steps(list(mel_frames(3, 8 * 13).reshape(-1, 8, BANDS))):
        pass

    GROUPED.resume(state)

    for group in GROUPED._groups:  # noqa: SLF001 - its buffers hold sound, and have no public name
        assert not group.mel.any()
        assert not group.embeddings.any()
