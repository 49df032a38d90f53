import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame, Framer, GapReason

cuts = st.lists(st.integers(0, 4_000), max_size=12)


@given(cuts)
def test_frames_do_not_depend_on_block_sizes(lengths: list[int]) -> None:
    sound = np.arange(sum(lengths), dtype=np.int64).astype(np.int16)
    framer, frames, read = Framer(), list[Frame](), 0

    for length in lengths:
        frames += framer.push(sound[read : read + length])
        read += length

    assert [frame.first_sample for frame in frames] == [
        index * FRAME_SAMPLES for index in range(len(sound) // FRAME_SAMPLES)
    ]
    whole = len(frames) * FRAME_SAMPLES
    assert b"".join(frame.samples.tobytes() for frame in frames) == sound[:whole].tobytes()
    assert framer.position_samples == len(sound)


def test_frame_is_a_copy_of_the_block() -> None:
    block = np.full(FRAME_SAMPLES, 7, np.int16)
    (frame,) = Framer().push(block)

    block.fill(0)

    assert set(frame.samples) == {7}
    assert not frame.samples.flags.writeable


@given(st.integers(0, FRAME_SAMPLES - 1), st.integers(0, 100_000))
def test_gap_length_is_cut_samples_plus_lost_samples(pending: int, lost: int) -> None:
    framer = Framer()
    framer.push(np.ones(FRAME_SAMPLES + pending, np.int16))

    gap = framer.cut(GapReason.OVERRUN, lost)

    assert (gap.first_sample, gap.length_samples, gap.cut_samples) == (
        FRAME_SAMPLES,
        pending + lost,
        pending,
    )
    (after,) = framer.push(np.full(FRAME_SAMPLES, 2, np.int16))
    assert after.first_sample == FRAME_SAMPLES + pending + lost
    assert set(after.samples) == {2}, "sound from before the gap must not reach the frame after it"
