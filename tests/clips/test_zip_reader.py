"""The ZIP of an export has one reading."""

import contextlib
import io
import struct
import warnings
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.archive.zip_stream import ZipWriter
from listener.clips import zip_reader
from listener.clips.zip_reader import ZipReader

ENTRIES = {"READ-ME-FIRST.html": b"<p>", "clips/a": b"x" * 70_000, "empty": b""}


def written(entries: dict[str, bytes]) -> bytes:
    with ZipWriter() as writer:
        pieces = [piece for name, data in entries.items() for piece in writer.add(name, data)]
        return b"".join([*pieces, *writer.finish()])


def by_zipfile(change: Callable[[zipfile.ZipFile], object] = lambda _: None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that occur twice
        archive.writestr(zipfile.ZipInfo("a"), b"one")
        archive.writestr(zipfile.ZipInfo("b"), b"two")
        change(archive)
    return file.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    reader = ZipReader(io.BytesIO(data))
    return {name: b"".join(reader.open(name)) for name in reader.entries}


@given(st.dictionaries(st.text("abc/-.", min_size=1, max_size=20), st.binary(max_size=300)))
def test_entries_of_the_archive_are_read(entries: dict[str, bytes]) -> None:
    assert read(written(entries)) == entries


def test_entries_of_another_writer_are_read() -> None:
    assert read(by_zipfile()) == {"a": b"one", "b": b"two"}


def test_more_than_65535_entries_are_read() -> None:
    data = written({f"{number}": b"" for number in range(66_000)})

    assert len(read(data)) == 66_000


def test_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {f"clips/{number}": b"" for number in range(101)}
    monkeypatch.setattr(zip_reader, "MOST_ENTRIES", 101)
    assert len(read(written(entries))) == 101

    monkeypatch.setattr(zip_reader, "MOST_ENTRIES", 100)
    with pytest.raises(ValueError, match="more than 100 entries"):
        read(written(entries))


def link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")


def folder(archive: zipfile.ZipFile) -> None:
    archive.mkdir("folder")


def extra(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("extra")
    entry.extra = struct.pack("<HH5sI", 0x7075, 9, b"\1\0\0\0\0", 0)  # another name, in Unicode
    archive.writestr(entry, b"")


def comment_of_entry(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("comment")
    entry.comment = b"x"
    archive.writestr(entry, b"")


def comment(archive: zipfile.ZipFile) -> None:
    archive.comment = b"more"


@pytest.mark.parametrize(
    "change",
    [
        link,
        folder,
        extra,
        comment_of_entry,
        comment,
        lambda archive: archive.writestr(zipfile.ZipInfo("a"), b"another"),
        lambda archive: archive.writestr(zipfile.ZipInfo("c" * 101), b""),
        lambda archive: archive.writestr(zipfile.ZipInfo("ä"), b""),
        lambda archive: archive.writestr(zipfile.ZipInfo("c"), b"c" * 100, zipfile.ZIP_DEFLATED),
    ],
)
def test_unusual_entry_is_refused(change: Callable[[zipfile.ZipFile], object]) -> None:
    data = by_zipfile(change)
    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None  # other readers take it

    with pytest.raises(ValueError):  # noqa: PT011 - each case has another message
        read(data)


def hide_first(data: bytes) -> bytes:
    """Leave an entry out of the directory: readers of the stream see it, others do not."""
    at = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", at + 1)
    count, size, start = 1, len(data) - 22 - second, at
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, size, start, 0)
    return data[:at] + data[second:-22] + end


def swap_directory(data: bytes) -> bytes:
    at = data.index(b"PK\1\2")
    half = (len(data) - 22 - at) // 2
    return data[:at] + data[at + half : at + 2 * half] + data[at : at + half] + data[-22:]


def rename_in_directory(data: bytes) -> bytes:
    at = data.rindex(b"PK\1\2")
    return data[: at + 46] + b"c" + data[at + 47 :]


def insert_between(data: bytes) -> bytes:
    """Add bytes before the directory, with offsets that are right."""
    at = data.index(b"PK\1\2")
    end = bytearray(data[-22:])
    end[16:20] = struct.pack("<I", at + 4)
    return data[:at] + b"evil" + data[at:-22] + bytes(end)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"#!/bin/sh\n" + data,
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda data: data[:-1],
        lambda data: data[: data.index(b"PK\1\2")],
        lambda _: b"",
        hide_first,
        swap_directory,
        rename_in_directory,
        insert_between,
        lambda data: data.replace(b"one", b"eno"),
    ],
)
def test_file_with_two_readings_is_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each case has another message
        read(change(by_zipfile()))


@given(data=st.data())
def test_changed_byte_is_refused_or_changes_nothing_that_is_read(data: st.DataObject) -> None:
    for whole in (written(ENTRIES), by_zipfile()):
        changed = bytearray(whole)
        changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(ValueError):
            assert set(read(bytes(changed)).values()) == set(read(whole).values())


@given(st.binary())
def test_bytes_are_a_zip_or_one_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        read(b"PK\3\4" + data)
