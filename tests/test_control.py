"""Control: three words, from anybody, and nothing else gets through."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener import control
from listener.control import Controller, ControlSocket, Look, Mute, Request, Unmute
from listener.errors import Unavailable

any_request = st.sampled_from([Look(), Mute(), Unmute()])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def listening(path: Path) -> Iterator[ControlSocket]:
    heard = ControlSocket(path)
    yield heard
    heard.close()


@pytest.fixture
def controller(path: Path) -> Iterator[Controller]:
    speaker = Controller(path)
    yield speaker
    speaker.close()


@given(any_request)
def test_every_request_comes_back_as_it_was(request: Request) -> None:
    assert control.decode(control.encode(request)) == request


@given(st.binary(max_size=100))
@example(b'{"kind":"unmute","kind":"mute"}')
@example(b"[" * 64)
def test_hostile_bytes_raise_one_error(data: bytes) -> None:
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
        b'{"kind":"mute"}' + b" " * control.LONGEST_BYTES,
    ],
)
def test_what_is_not_in_the_schema_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a request|longer than"):
        control.decode(data)


def test_requests_arrive_in_order(listening: ControlSocket, controller: Controller) -> None:
    said: list[Request] = [Mute(), Look(), Unmute()]

    assert all(controller.send(one) for one in said)

    assert list(listening.receive()) == said
    assert listening.fileno() >= 0


def test_rubbish_between_requests_is_counted(
    listening: ControlSocket, controller: Controller, path: Path
) -> None:
    controller.send(Mute())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for data in (b"", b"\xff" * 64, b'{"kind":"mute"}' + b" " * 100, b"x" * 5000):
            stranger.sendto(data, str(path))
    controller.send(Look())

    assert list(listening.receive()) == [Mute(), Look()]
    assert listening.refused == 4


def test_nobody_there_is_said(controller: Controller) -> None:
    assert not controller.is_heard()
    assert not controller.send(Mute())


def test_somebody_there_is_said(listening: ControlSocket, controller: Controller) -> None:
    assert controller.is_heard()
    assert list(listening.receive()) == []


def test_a_second_hear_does_not_take_the_first_ones_socket(
    listening: ControlSocket, controller: Controller, path: Path
) -> None:
    with pytest.raises(Unavailable, match="already listens"):
        ControlSocket(path)

    controller.send(Mute())

    assert list(listening.receive()) == [Mute()]


def test_in_a_shared_folder_its_group_may_ask(tmp_path: Path) -> None:
    tmp_path.chmod(0o2710)

    listening = ControlSocket(tmp_path / "control.sock")

    assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o620
    listening.close()


def test_the_socket_is_for_this_user_alone(listening: ControlSocket, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert listening.refused == 0
