"""Datagram sockets: bounded, counted, never blocking."""

import os
import socket
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.ipc.datagrams import Inbox, MessageSocket, Outbox, has_listener


def test_message_over_the_limit_is_recognised(tmp_path: Path) -> None:
    inbox, outbox = Inbox(tmp_path / "in", 4), Outbox(tmp_path / "in")

    for data in (b"", b"four", b"fives", b"x" * 1000):
        assert outbox.send(data)

    assert [len(data) for data in inbox.receive()] == [0, 4, 5, 5]
    inbox.close()
    outbox.close()


def test_flood_is_read_in_portions(tmp_path: Path) -> None:
    inbox, outbox = Inbox(tmp_path / "in", 4, most_at_once=3), Outbox(tmp_path / "in")
    for number in range(5):
        assert outbox.send(b"%d" % number)

    assert [list(inbox.receive()) for _ in range(3)] == [[b"0", b"1", b"2"], [b"3", b"4"], []]
    inbox.close()
    outbox.close()


def test_socket_replaces_a_stale_file_but_no_listener(tmp_path: Path) -> None:
    path = tmp_path / "in"
    first = Inbox(path, 8)
    with pytest.raises(Unavailable, match=f"already listens on .*: process {os.getpid()}"):
        Inbox(path, 8)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(os.fspath(tmp_path / "stale"))

    second = Inbox(tmp_path / "stale", 8)

    assert has_listener(path)
    assert has_listener(tmp_path / "stale")
    first.close()
    second.close()
    assert not has_listener(path)


def test_path_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    inbox, outbox = Inbox(deep / "in", 8), Outbox(deep / "in")

    assert outbox.send(b"there")

    assert list(inbox.receive()) == [b"there"]
    assert has_listener(deep / "in")
    inbox.close()
    outbox.close()


def test_missing_folder_has_no_listener(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "gone" / ("d" * 110) / "in")

    assert not outbox.send(b"?")

    assert outbox.dropped == 1
    outbox.close()


def test_socket_of_another_user_receives_nothing(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "in", 8)
    ours = Outbox(tmp_path / "in", owner=os.geteuid())
    theirs = Outbox(tmp_path / "in", owner=os.geteuid() + 1)

    assert ours.send(b"yes")
    assert not theirs.send(b"no")

    assert list(inbox.receive()) == [b"yes"]
    assert theirs.dropped == 1
    for end in (inbox, ours, theirs):
        end.close()


def test_link_to_a_socket_receives_nothing_with_owner_check(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "in", 8)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    outbox = Outbox(tmp_path / "link", owner=os.geteuid())

    assert not outbox.send(b"no")

    assert list(inbox.receive()) == []
    inbox.close()
    outbox.close()


def test_owner_check_works_with_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    inbox, outbox = Inbox(deep / "in", 8), Outbox(deep / "in", owner=os.geteuid())

    assert outbox.send(b"there")

    assert list(inbox.receive()) == [b"there"]
    inbox.close()
    outbox.close()


def test_setgid_folder_shares_a_socket_only_on_request(tmp_path: Path) -> None:
    tmp_path.chmod(0o2710)

    inbox = Inbox(tmp_path / "in", 8)

    assert (tmp_path / "in").stat().st_mode & 0o777 == 0o600
    inbox.close()


def test_slow_reader_does_not_block_the_sender(tmp_path: Path) -> None:
    inbox, outbox = Inbox(tmp_path / "in", 8), Outbox(tmp_path / "in")

    sent = sum(outbox.send(b"there") for _ in range(5000))

    assert 0 < sent < 5000
    assert outbox.dropped == 5000 - sent
    assert len(list(inbox.receive())) == sent
    inbox.close()
    outbox.close()


def test_restarted_reader_receives_again(tmp_path: Path) -> None:
    Inbox(tmp_path / "in", 8).close()
    outbox = Outbox(tmp_path / "in")
    assert not outbox.send(b"before")
    again = Inbox(tmp_path / "in", 8)

    assert outbox.send(b"after")

    assert list(again.receive()) == [b"after"]
    again.close()
    outbox.close()


def test_regular_file_at_the_socket_path_is_kept(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("mine")

    with pytest.raises(Unavailable, match="cannot listen"):
        Inbox(tmp_path / "in", 8)

    assert (tmp_path / "in").read_text() == "mine"


def test_messages_arrive_in_order_and_others_are_counted(tmp_path: Path) -> None:
    numbers, outbox = MessageSocket(tmp_path / "in", 8, int), Outbox(tmp_path / "in")

    for data in (b"1", b"", b"\xff", b"two", b"0" * 9, b"0" * 5000, b"3"):
        assert outbox.send(data)

    assert numbers.fileno() >= 0
    assert list(numbers.receive()) == [1, 0, 0, 3], "a limit of length is the decoder's to keep"
    assert numbers.refused == 3
    numbers.close()
    outbox.close()
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(("folder", "socket_"), [(0o700, 0o600), (0o2710, 0o620)])
def test_only_the_group_of_a_setgid_folder_may_send(
    tmp_path: Path, folder: int, socket_: int
) -> None:
    tmp_path.chmod(folder)

    numbers = MessageSocket(tmp_path / "in", 8, int)

    assert (tmp_path / "in").stat().st_mode & 0o777 == socket_
    numbers.close()
