"""Notices: a closed schema, small, never blocking."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener import notices
from listener.errors import Unavailable
from listener.notices import (
    LONGEST_BYTES,
    Counters,
    Level,
    Mute,
    NearMiss,
    Notice,
    NoticeSocket,
    Notifier,
    Shown,
    Spooled,
    Started,
    Stopped,
    Tally,
    Wake,
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
    st.builds(Started),
    st.builds(Stopped),
    st.builds(Spooled),
    st.builds(Wake, word=words, score=scores),
    st.builds(NearMiss, word=words, score=scores),
    st.builds(Mute, state=st.sampled_from(["open", "hardware", "software"])),
    st.builds(notices.signed, tallies, st.just(lambda _: bytes(64))),
)

any_level = st.builds(
    Level,
    level_dbfs=st.none() | st.integers(-96, 0),
    floor_dbfs=st.none() | st.integers(-96, 0),
    words=st.lists(
        st.builds(notices.Word, name=words, score=scores, threshold=scores),
        max_size=notices.MOST_WORDS,
    ).map(tuple),
    mute=st.sampled_from(get_args(notices.MuteState)),
    lamp=st.sampled_from(get_args(notices.LampState)),
    cpu_s=st.floats(0, 1e9),
    up_s=st.floats(0, 1e9),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notices.sock"


@pytest.fixture
def listening(path: Path) -> Iterator[NoticeSocket]:
    heard = NoticeSocket(path)
    yield heard
    heard.close()


@pytest.fixture
def notifier(path: Path) -> Iterator[Notifier]:
    speaker = Notifier(path)
    yield speaker
    speaker.close()


@given(any_notice)
def test_every_notice_fits_and_comes_back_as_it_was(notice: Notice) -> None:
    data = notices.encode(notice)

    assert len(data) <= LONGEST_BYTES
    assert notices.decode(data) == notice


@given(any_notice | any_level)
def test_a_monitor_may_hear_all_of_it(shown: Shown) -> None:
    data = notices.encode(shown)

    assert len(data) <= LONGEST_BYTES
    assert notices.decode_shown(data) == shown


def test_the_longest_level_fits() -> None:
    word = notices.Word(name="w" * 32, score=1.2345678901234567e-5, threshold=1.2345678901234567e-5)
    level = Level(
        level_dbfs=-96,
        floor_dbfs=-96,
        words=(word,) * notices.MOST_WORDS,
        mute="hardware",
        lamp="hearing",
        cpu_s=1.2345678901234567e-5,
        up_s=1.2345678901234567e-5,
    )

    assert LONGEST_BYTES * 0.9 < len(notices.encode(level)) <= LONGEST_BYTES


@given(any_level)
def test_send_cannot_read_a_level(level: Level) -> None:
    with pytest.raises(ValueError, match="not a notice"):
        notices.decode(notices.encode(level))


@given(st.binary(max_size=600))
def test_hostile_bytes_raise_one_error_at_a_monitor(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        notices.decode_shown(data)


@given(any_level, st.integers(0, LONGEST_BYTES), st.integers(0, 255))
def test_a_changed_level_is_another_or_none(level: Level, place: int, byte: int) -> None:
    data = bytearray(notices.encode(level))
    data[place % len(data)] = byte

    try:
        again = notices.decode_shown(bytes(data))
    except ValueError:
        return
    assert len(notices.encode(again)) <= LONGEST_BYTES


@given(st.binary(max_size=600))
def test_hostile_bytes_raise_one_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        notices.decode(data)


@given(any_notice, st.integers(0, LONGEST_BYTES), st.integers(0, 255))
def test_a_changed_notice_is_another_or_none(notice: Notice, place: int, byte: int) -> None:
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
def test_what_is_not_in_the_schema_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a notice|longer than"):
        notices.decode(data)


def test_a_notice_that_would_be_too_long_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        notices.encode(Wake(word="a" * 600, score=1.0))


def test_the_counters_are_signed_in_a_form_that_anybody_can_rebuild() -> None:
    key = Ed25519PrivateKey.generate()
    tally = Tally(device="hall", boot="0" * 16, seq=3, heard_samples=32_000, sealed=1)

    counters = notices.signed(tally, key.sign)

    assert isinstance(notices.decode(notices.encode(counters)), Counters)
    text = msgspec.json.encode(dict(sorted(msgspec.structs.asdict(tally).items())))
    key.public_key().verify(msgspec.json.decode(f'"{counters.signature}"', type=bytes), text)


def test_what_is_sent_is_received_in_order(listening: NoticeSocket, notifier: Notifier) -> None:
    said: list[Notice] = [Started(), Wake(word="alexa", score=0.9), Mute(state="hardware")]

    assert all(notifier.send(notice) for notice in said)

    assert list(listening.receive()) == said
    assert list(listening.receive()) == []


def test_hear_goes_on_when_nobody_listens(notifier: Notifier) -> None:
    assert not notifier.send(Spooled())

    assert notifier.dropped == 1


def test_hear_goes_on_when_nobody_reads(listening: NoticeSocket, notifier: Notifier) -> None:
    sent = sum(notifier.send(Spooled()) for _ in range(5000))

    assert 0 < sent < 5000
    assert notifier.dropped == 5000 - sent
    assert len(list(listening.receive())) == sent


def test_a_listener_that_comes_back_is_heard_by(path: Path, notifier: Notifier) -> None:
    NoticeSocket(path).close()
    notifier.send(Spooled())
    again = NoticeSocket(path)

    notifier.send(Spooled())

    assert list(again.receive()) == [Spooled()]
    assert notifier.dropped == 1
    again.close()


def test_what_is_no_notice_is_counted_and_left_out(
    listening: NoticeSocket, path: Path, notifier: Notifier
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for data in (b"", b"\xff", b"x" * 2000):
            stranger.sendto(data, os.fspath(path))
    notifier.send(Spooled())

    assert list(listening.receive()) == [Spooled()]
    assert listening.refused == 3


def test_the_socket_is_for_this_user_alone(listening: NoticeSocket, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert listening.fileno() > 0


def test_in_a_shared_folder_its_group_may_speak(tmp_path: Path) -> None:
    tmp_path.chmod(0o2710)

    listening = NoticeSocket(tmp_path / "notices.sock")

    assert (tmp_path / "notices.sock").stat().st_mode & 0o777 == 0o620
    listening.close()


def test_a_stale_socket_is_replaced_and_a_file_is_not(path: Path, notifier: Notifier) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(os.fspath(path))

    fresh = NoticeSocket(path)
    notifier.send(Spooled())

    assert list(fresh.receive()) == [Spooled()]
    fresh.close()
    assert not path.exists()

    path.write_text("mine")
    with pytest.raises(Unavailable, match="cannot listen"):
        NoticeSocket(path)
    assert path.read_text() == "mine"


def test_a_folder_may_lie_deeper_than_a_socket_address_is_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    listening, notifier = NoticeSocket(deep / "notices.sock"), Notifier(deep / "notices.sock")

    assert notifier.send(Spooled())

    assert list(listening.receive()) == [Spooled()]
    listening.close()
    notifier.close()
