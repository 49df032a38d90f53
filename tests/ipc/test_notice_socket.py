"""Notice socket: in order, never blocking."""

import contextlib
import os
import socket
from pathlib import Path

from listener.ipc.notice_socket import NoticeSender, NoticeSocket
from listener.ipc.notices import MuteNotice, Notice, SpooledNotice, StartedNotice, WakeNotice


def test_notices_arrive_in_order_and_others_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "notices.sock"
    said: list[Notice] = [
        StartedNotice(),
        WakeNotice(word="alexa", score=0.9),
        MuteNotice(state="hardware"),
    ]

    with (
        contextlib.closing(NoticeSocket(path)) as listening,
        contextlib.closing(NoticeSender(path)) as notifier,
    ):
        assert all(notifier.send(notice) for notice in said)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"x" * 2000, os.fspath(path))

        assert list(listening.receive()) == said
        assert listening.refused == 1


def test_sender_continues_without_a_reader(tmp_path: Path) -> None:
    with contextlib.closing(NoticeSender(tmp_path / "notices.sock")) as notifier:
        assert not notifier.send(SpooledNotice())

        assert notifier.dropped == 1
