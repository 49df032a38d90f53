"""Scores on disk: what was kept comes back, and nothing else does."""

import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.evaluate.engines.cache import ScoreCache
from listener.evaluate.engines.interface import ScoreTrack

KEY = "ab" + "0" * 62


def track(steps: int = 40) -> ScoreTrack:
    scores = np.random.default_rng(steps).random((steps, 2)).astype(np.float32)
    return ScoreTrack(("alexa", "hey ärger"), scores, 1280, 1290, 1280 * steps + 17, 3)


@pytest.mark.parametrize("steps", [0, 1, 40])
def test_cached_track_round_trip(tmp_path: Path, steps: int) -> None:
    cache = ScoreCache(tmp_path / "scores")

    cache.store(KEY, track(steps))
    found = cache.load(KEY)

    assert found is not None
    assert np.array_equal(found.scores, track(steps).scores)
    assert found.scores.dtype == np.float32
    assert (found.words, found.step_samples, found.first_end_sample) == (
        ("alexa", "hey ärger"),
        1280,
        1290,
    )
    assert (found.length_samples, found.clipped_samples) == (1280 * steps + 17, 3)
    assert not list(tmp_path.rglob(".unfinished*"))


def test_missing_cache_entry_is_none(tmp_path: Path) -> None:
    assert ScoreCache(tmp_path / "none").load(KEY) is None


@given(at=st.integers(0, 600), value=st.integers(0, 255), end=st.integers(0, 600))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_incomplete_cache_file_is_ignored(tmp_path: Path, at: int, value: int, end: int) -> None:
    cache = ScoreCache(tmp_path)
    cache.store(KEY, track())
    (path,) = tmp_path.rglob("*.scores")
    data = bytearray(path.read_bytes())
    if at < len(data):
        data[at] = value
    path.write_bytes(data[: max(len(data) - end, 0)])

    found = cache.load(KEY)

    # A flipped digit of a number in the head may go unseen; scores never.
    assert found is None or np.array_equal(found.scores, track().scores)


def test_unwritable_cache_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("a file")

    with pytest.raises(OSError, match="scores"):
        ScoreCache(tmp_path / "scores").store(KEY, track())


def test_full_disk_leaves_no_partial_cache_file(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            ScoreCache(tmp_path).store(KEY, track())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert ScoreCache(tmp_path).load(KEY) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
