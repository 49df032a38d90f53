"""Control requests: a closed schema, from any process."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener.ipc import control
from listener.ipc.control import (
    ControlClient,
    ControlSocket,
    MuteRequest,
    Request,
    ThresholdRequest,
    UnmuteRequest,
    Wakeup,
    WordRequest,
)

any_word = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
any_request = st.one_of(
    st.sampled_from([Wakeup(), MuteRequest(), UnmuteRequest(), WordRequest()]),
    st.builds(WordRequest, only=any_word),
    st.builds(
        ThresholdRequest,
        word=any_word,
        threshold=st.integers(100, 9900).map(lambda part: part / 10_000),
    ),
)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[ControlSocket, ControlClient]]:
    path = tmp_path / "control.sock"
    with (
        contextlib.closing(ControlSocket(path)) as listening,
        contextlib.closing(ControlClient(path)) as controller,
    ):
        yield listening, controller


@given(any_request)
def test_every_request_survives_encoding(request: Request) -> None:
    assert len(control.encode(request)) <= control.LONGEST_BYTES
    assert control.decode(control.encode(request)) == request


@given(st.binary(max_size=100))
@example(b'{"kind":"unmute","kind":"mute"}')
@example(b"[" * 64)
def test_hostile_bytes_raise_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        control.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"mute",
        b'"mute"',
        b'["mute"]',
        b'{"kind":"off"}',
        b'{"kind":"MUTE"}',
        b'{"kind":"unmute","force":true}',
        b'{"kind":"mute"}{"kind":"unmute"}',
        b'{"kind":"threshold","word":"alexa","threshold":0}',
        b'{"kind":"threshold","word":"alexa","threshold":1}',
        b'{"kind":"threshold","word":"../etc","threshold":0.5}',
        b'{"kind":"threshold","threshold":0.5}',
        b'{"kind":"word","only":""}',
        b'{"kind":"mute"}' + b" " * control.LONGEST_BYTES,
    ],
)
def test_content_outside_the_schema_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a request|longer than"):
        control.decode(data)


def test_requests_arrive_in_order_and_others_are_counted(
    ends: tuple[ControlSocket, ControlClient], tmp_path: Path
) -> None:
    listening, controller = ends
    said: list[Request] = [MuteRequest(), Wakeup(), UnmuteRequest()]

    assert all(controller.send(one) for one in said)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b'{"kind":"mute"}' + b" " * 100, str(tmp_path / "control.sock"))

    assert list(listening.receive()) == said
    assert listening.refused == 1


def test_has_listener_is_false_without_hear(tmp_path: Path) -> None:
    with contextlib.closing(ControlClient(tmp_path / "control.sock")) as controller:
        assert not controller.has_listener()
        assert not controller.send(MuteRequest())


def test_has_listener_is_true_while_hear_listens(ends: tuple[ControlSocket, ControlClient]) -> None:
    listening, controller = ends

    assert controller.has_listener()
    assert list(listening.receive()) == []
