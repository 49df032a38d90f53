import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame
from listener.audio.ring_buffer import Ring

FRAMES = 4


def sound(frames: int, first_sample: int = 0) -> list[Frame]:
    """Frames whose every sample is told by its place."""
    return [
        Frame(((np.arange(FRAME_SAMPLES) + at) % 30_000 + 1).astype(np.int16), first_sample=int(at))
        for at in first_sample + np.arange(frames) * FRAME_SAMPLES
    ]


def filled(
    frames: int, first_sample: int = 0, length: int = FRAMES * FRAME_SAMPLES
) -> tuple[Ring, np.ndarray[tuple[int], np.dtype[np.int16]]]:
    buffer = np.zeros(length, np.int16)
    ring = Ring(buffer)
    for frame in sound(frames, first_sample):
        ring.push(frame)
    return ring, buffer


@given(
    pushed=st.integers(0, 12),
    start=st.integers(0, 50_000),
    length=st.integers(FRAME_SAMPLES, FRAMES * FRAME_SAMPLES),
    data=st.data(),
)
def test_read_returns_pushed_samples_or_raises(
    pushed: int, start: int, length: int, data: st.DataObject
) -> None:
    ring, _ = filled(pushed, start, length)
    end_of_all = start + pushed * FRAME_SAMPLES
    first = data.draw(st.integers(max(0, start - 10), end_of_all + 10))
    end = data.draw(st.integers(first, end_of_all + 20))

    if pushed and max(start, end_of_all - length) <= first and end <= end_of_all:
        got = ring.read(first, end)

        whole = np.concatenate([frame.samples for frame in sound(pushed, start)])
        assert (got == whole[first - start : end - start]).all()
    elif end > first:
        with pytest.raises(LookupError):
            ring.read(first, end)


def test_wipe_zeroes_the_buffer_in_place() -> None:
    ring, buffer = filled(3)

    ring.wipe()

    assert not buffer.any()
    assert ring.first_sample == ring.end_sample == 3 * FRAME_SAMPLES
    with pytest.raises(LookupError):
        ring.read(2 * FRAME_SAMPLES, 2 * FRAME_SAMPLES + 1)


def test_frame_after_wipe_may_start_at_any_sample() -> None:
    ring, _ = filled(3)
    ring.wipe()
    (late,) = sound(1, first_sample=100_003)

    ring.push(late)

    assert (ring.read(100_003, 100_003 + FRAME_SAMPLES) == late.samples).all()


def test_frame_after_a_gap_without_wipe_is_an_error() -> None:
    ring, _ = filled(2)
    (late,) = sound(1, first_sample=3 * FRAME_SAMPLES)

    with pytest.raises(ValueError, match="follow"):
        ring.push(late)


def test_read_returns_a_copy() -> None:
    ring, buffer = filled(1)
    got = ring.read(0, FRAME_SAMPLES)

    got.fill(0)

    assert buffer[:FRAME_SAMPLES].all()
