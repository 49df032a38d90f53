import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.clip import encode_clip
from listener.selftest.watermark import (
    BLOCK_SAMPLES,
    ENCODED,
    FORMS,
    MOST_BLOCKS,
    FoundBlocks,
    Watermark,
)

MARKED = Watermark(7)
CAST = {
    "int16": lambda x: x,
    "int16 big-endian": lambda x: x.astype(">i2"),
    "int32": lambda x: x.astype(np.int32),
    "int64": lambda x: x.astype(np.int64),
    "int32 high": lambda x: x.astype(np.int32) * 65536,
    "float32": lambda x: x.astype(np.float32),
    "float32 / 32768": lambda x: (x / np.float32(32768)).astype(np.float32),
    "float32 / 32767": lambda x: (x / np.float32(32767)).astype(np.float32),
    "float64": lambda x: x.astype(np.float64),
    "float64 / 32768": lambda x: x / 32768.0,
}


def test_every_format_has_a_test() -> None:
    assert set(CAST) == set(FORMS)


@given(
    form=st.sampled_from(FORMS),
    first=st.integers(0, MOST_BLOCKS - 40),
    count=st.integers(1, 40),
    before=st.binary(max_size=70),
    after=st.binary(max_size=70),
)
def test_block_is_found_at_any_byte_in_any_format(
    form: str, first: int, count: int, before: bytes, after: bytes
) -> None:
    signal = MARKED.signal(first, first + count)

    found = MARKED.find(before + CAST[form](signal).tobytes() + after)

    assert found.blocks == {form: set(range(first, first + count))}
    assert found.count == count


@given(st.binary(max_size=2_000))
def test_arbitrary_bytes_have_no_block(data: bytes) -> None:
    assert not MARKED.find(data)


def test_another_seed_gives_another_signal() -> None:
    signal = Watermark(1).signal(0, 100)

    assert not Watermark(2).find(signal.tobytes())


@pytest.mark.parametrize("form", FORMS)
def test_half_a_block_counts_and_less_does_not(form: str) -> None:
    signal = MARKED.signal(5, 6)

    for samples in range(8):
        assert MARKED.find(CAST[form](signal[:samples]).tobytes()).count == 0
    assert MARKED.find(CAST[form](signal[:8]).tobytes()).count == 1


@given(st.binary(min_size=2, max_size=40))
def test_one_register_of_samples_and_any_bytes_are_no_block(after: bytes) -> None:
    # What a sound library left on the stack of the microphone process: 4 samples, then a pointer.
    signal = MARKED.signal(0, 40)

    assert MARKED.find(signal[:4].tobytes() + after).count == 0


@pytest.mark.parametrize(("first", "end"), [(-1, 3), (4, 3), (0, MOST_BLOCKS + 1)])
def test_block_numbers_out_of_range_are_refused(first: int, end: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        MARKED.signal(first, end)


def test_signal_is_int16_of_the_length_of_its_blocks() -> None:
    signal = MARKED.signal(10, 20)

    assert signal.dtype == np.int16
    assert signal.shape == (10 * BLOCK_SAMPLES,)


def test_encoded_audio_is_found_after_expect_only() -> None:
    marked = Watermark(3)
    signal = marked.signal(0, 1_000)
    somewhere = b"x" * 333 + encode_clip(signal, "another tag, of another length")

    before = marked.find(somewhere)
    marked.expect(encode_clip(signal, "a tag"))
    after = marked.find(somewhere)

    assert not before
    assert set(after.blocks) == {ENCODED}
    assert after.count > 4
    assert not marked.find(encode_clip(np.zeros(16_000, np.int16), "silence"))


def test_block_found_twice_counts_once() -> None:
    one, other = FoundBlocks(), FoundBlocks()
    one.add("int16", 1)
    other.add("int16", 1)
    other.add("float32", 2)

    one.merge(other)

    assert one.blocks == {"int16": {1}, "float32": {2}}
    assert one.count == 2


@given(
    seed=st.integers(0, 1000),
    sounds=st.integers(1, 20),
    before=st.integers(0, 9),
    data=st.data(),
)
def test_all_encoded_pieces_are_found_in_one_pass(
    seed: int, sounds: int, before: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    marked = Watermark(seed)
    encoded = [random.bytes(int(random.integers(40, 4000))) for _ in range(sounds)]
    for each in encoded:
        marked.expect(each)
    kept = data.draw(st.sets(st.sampled_from(range(sounds))))

    found = marked.find(random.bytes(before) + b"".join(encoded[index] for index in kept))

    alone = Watermark(seed)
    numbers, first = set(), MOST_BLOCKS
    for index, each in enumerate(encoded):
        alone.expect(each)
        pieces = alone.find(each).blocks.get(ENCODED, set()) - set(range(first))
        first = max(pieces, default=first - 1) + 1
        if index in kept:
            numbers |= pieces
    assert found.blocks.get(ENCODED, set()) == numbers
