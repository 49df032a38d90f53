"""Notices: a closed schema of small messages."""

import contextlib
from typing import get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.ipc import notices
from listener.ipc.notices import (
    LONGEST_BYTES,
    CountersNotice,
    LevelNotice,
    MuteNotice,
    NearMissNotice,
    Notice,
    Shown,
    SpooledNotice,
    StartedNotice,
    StoppedNotice,
    Tally,
    WakeNotice,
)

counts = st.integers(0, 999_999_999)
samples = st.integers(0, 9_999_999_999_999)
words = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
scores = st.floats(0, 1)
tallies = st.builds(
    Tally,
    device=words,
    boot=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    seq=st.integers(0, 999_999_999_999),
    **{
        name: samples if name.endswith("_samples") else counts
        for name in Tally.__struct_fields__
        if name not in {"v", "device", "boot", "seq"}
    },
)
any_notice = st.one_of(
    st.builds(StartedNotice),
    st.builds(StoppedNotice),
    st.builds(SpooledNotice),
    st.builds(WakeNotice, word=words, score=scores),
    st.builds(NearMissNotice, word=words, score=scores),
    st.builds(MuteNotice, state=st.sampled_from(["open", "hardware", "software"])),
    st.builds(
        notices.StateNotice,
        mute=st.none() | st.sampled_from(get_args(notices.MuteState)),
        microphone=st.none() | st.sampled_from(("open", *get_args(notices.LossCause))),
        losses=st.none() | counts,
        overruns=st.none() | counts,
        thresholds=st.dictionaries(words, scores, max_size=notices.MOST_THRESHOLDS),
        switch=st.none() | words,
    ),
    st.builds(notices.sign_tally, tallies, st.just(lambda _: bytes(64))),
)

any_level = st.builds(
    LevelNotice,
    level_dbfs=st.none() | st.integers(-96, 0),
    floor_dbfs=st.none() | st.integers(-96, 0),
    words=st.lists(
        st.builds(notices.WordScore, name=words, score=scores, threshold=scores),
        max_size=notices.MOST_WORDS,
    ).map(tuple),
    mute=st.sampled_from(get_args(notices.MuteState)),
    lamp=st.sampled_from(get_args(notices.LampState)),
    cpu_s=st.floats(0, 1e9),
    up_s=st.floats(0, 1e9),
)


@given(any_notice)
def test_every_notice_fits_and_survives_encoding(notice: Notice) -> None:
    data = notices.encode(notice)

    assert len(data) <= LONGEST_BYTES
    assert notices.decode(data) == notice


@given(any_notice | any_level)
def test_monitor_decodes_every_notice(shown: Shown) -> None:
    data = notices.encode(shown)

    assert len(data) <= LONGEST_BYTES
    assert notices.decode_for_monitor(data) == shown


def test_longest_level_notice_fits() -> None:
    word = notices.WordScore(
        name="w" * 32, score=1.2345678901234567e-5, threshold=1.2345678901234567e-5
    )
    level = LevelNotice(
        level_dbfs=-96,
        floor_dbfs=-96,
        words=(word,) * notices.MOST_WORDS,
        mute="hardware",
        lamp="hearing",
        cpu_s=1.2345678901234567e-5,
        up_s=1.2345678901234567e-5,
    )

    assert LONGEST_BYTES * 0.9 < len(notices.encode(level)) <= LONGEST_BYTES


def test_longest_state_notice_fits() -> None:
    state = notices.StateNotice(
        mute="hardware",
        microphone="garbled",
        losses=999_999_999,
        overruns=999_999_999,
        switch="s" * 32,
        thresholds={"w" * 31 + str(number): 1.2345678901234567e-100 for number in range(6)},
    )

    assert LONGEST_BYTES * 0.9 < len(notices.encode(state)) <= LONGEST_BYTES


@given(any_level)
def test_send_does_not_decode_levels(level: LevelNotice) -> None:
    with pytest.raises(ValueError, match="not a notice"):
        notices.decode(notices.encode(level))


@given(st.binary(max_size=600))
def test_hostile_bytes_raise_value_error_in_a_monitor(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        notices.decode_for_monitor(data)


@given(any_level, st.integers(0, LONGEST_BYTES), st.integers(0, 255))
def test_changed_level_notice_is_another_or_refused(
    level: LevelNotice, place: int, byte: int
) -> None:
    data = bytearray(notices.encode(level))
    data[place % len(data)] = byte

    try:
        again = notices.decode_for_monitor(bytes(data))
    except ValueError:
        return
    assert len(notices.encode(again)) <= LONGEST_BYTES


@given(st.binary(max_size=600))
def test_hostile_bytes_raise_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        notices.decode(data)


@given(any_notice, st.integers(0, LONGEST_BYTES), st.integers(0, 255))
def test_changed_notice_is_another_or_refused(notice: Notice, place: int, byte: int) -> None:
    data = bytearray(notices.encode(notice))
    data[place % len(data)] = byte

    try:
        again = notices.decode(bytes(data))
    except ValueError:
        return
    assert len(notices.encode(again)) <= LONGEST_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b'{"kind":"sound"}',
        b'{"kind":"wake","word":"alexa"}',
        b'{"kind":"wake","word":"alexa","score":1.1}',
        b'{"kind":"wake","word":"alexa","score":NaN}',
        b'{"kind":"wake","word":"alexa\\n","score":0.5}',
        b'{"kind":"wake","word":"alexa","score":0.5,"samples":[1,2,3]}',
        b'{"kind":"mute","state":"off"}',
        b'{"kind":"spooled"}{"kind":"spooled"}',
        b'{"kind":"spooled"}' + b" " * LONGEST_BYTES,
        b"[" * 500,
    ],
)
def test_content_outside_the_schema_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a notice|longer than"):
        notices.decode(data)


def test_notice_over_the_limit_is_refused_by_encode() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        notices.encode(WakeNotice(word="a" * 600, score=1.0))


def test_counters_are_signed_in_canonical_form() -> None:
    key = Ed25519PrivateKey.generate()
    tally = Tally(device="hall", boot="0" * 16, seq=3, heard_samples=32_000, sealed=1)

    counters = notices.sign_tally(tally, key.sign)

    assert isinstance(notices.decode(notices.encode(counters)), CountersNotice)
    text = msgspec.json.encode(dict(sorted(msgspec.structs.asdict(tally).items())))
    key.public_key().verify(msgspec.json.decode(f'"{counters.signature}"', type=bytes), text)
