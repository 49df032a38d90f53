import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import Unavailable
from listener.storage import journal
from listener.storage.journal import Journal, read_lines


@contextmanager
def disk_of(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_read_lines_returns_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "a"
    first = Journal(path)
    assert first.append(b"one\n")
    first.close()
    second = Journal(path)

    assert second.append(b"two\n")
    second.close()

    assert list(read_lines(path)) == [b"one", b"two"]
    assert path.stat().st_mode & 0o777 == 0o600


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"."))), st.data())
def test_power_cut_at_any_byte_loses_one_line_at_most(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a"
    whole = b"".join(line + b"\n" for line in lines)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])

    one = Journal(path)
    one.append(b"next\n")
    one.close()

    survivors = whole[:cut].split(b"\n")[:-1]
    assert list(read_lines(path)) == [*survivors, b"next"]


def test_incomplete_line_longer_than_a_block_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\n" + b"x" * 200_000)

    Journal(path).close()

    assert path.read_bytes() == b"one\n"


def test_incomplete_last_line_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\ntw")

    assert list(read_lines(path)) == [b"one"]
    assert path.read_bytes() == b"one\ntw"


def test_endless_line_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * (journal.LONGEST_LINE_BYTES + 5))

    (line,) = read_lines(path)

    assert len(line) == journal.LONGEST_LINE_BYTES


def test_lines_wait_while_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "a"
    one = Journal(path)
    one.append(b"first\n")

    with disk_of(9):
        assert not one.append(b"second\n")
        assert not one.append(b"third\n")
        assert one.waiting == 2
        assert path.read_bytes() == b"first\n"
    assert one.append(b"fourth\n")
    one.close()

    assert list(read_lines(path)) == [b"first", b"second", b"third", b"fourth"]
    assert one.lost == 0


def test_lines_beyond_the_limit_are_counted_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "a"
    one = Journal(path)

    with disk_of(3):
        for number in range(journal.MOST_WAITING + 7):
            one.append(b"%d long enough\n" % number)
        assert one.waiting == journal.MOST_WAITING
    one.append(b"last\n")
    one.close()

    lines = list(read_lines(path))
    assert one.lost == 8
    assert lines[0] == b"8 long enough"
    assert lines[-1] == b"last"


def test_lines_waiting_at_close_are_counted_as_lost(tmp_path: Path) -> None:
    one = Journal(tmp_path / "a")

    with disk_of(3):
        one.append(b"too long\n")
        one.close()

    assert one.lost == 1


def test_second_writer_is_refused(tmp_path: Path) -> None:
    one = Journal(tmp_path / "a")

    with pytest.raises(Unavailable, match="another process writes to it"):
        Journal(tmp_path / "a")
    one.close()


@pytest.mark.parametrize("name", ["missing/a", ".", "nul\0"])
def test_journal_that_cannot_be_opened_is_unavailable(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unavailable, match="cannot write"):
        Journal(tmp_path / name)


def test_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Unavailable, match="cannot write"):
        Journal(tmp_path / "link")


@pytest.mark.parametrize("name", ["missing", ".", "nul\0"])
def test_journal_that_cannot_be_read_is_unavailable(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unavailable, match="cannot read"):
        list(read_lines(tmp_path / name))
