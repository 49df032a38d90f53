"""The streamed ZIP, read by Python's zipfile."""

import io
import tempfile
import zipfile

from hypothesis import given
from hypothesis import strategies as st

from listener.archive.zip_stream import ZipWriter

NAMES = st.text("abcdefghij/-.", min_size=1, max_size=30)


@given(entries=st.dictionaries(NAMES, st.binary(max_size=500), max_size=8))
def test_zip_entries_round_trip(entries: dict[str, bytes]) -> None:
    with ZipWriter() as writer, tempfile.TemporaryFile() as file:
        file.write(b"last" * 50_000)
        pieces = [piece for name, data in entries.items() for piece in writer.add(name, data)]
        pieces += [*writer.add_file("z/last", file), *writer.finish()]

    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as read:
        assert read.testzip() is None
        assert read.namelist() == [*entries, "z/last"]
        assert all(read.read(name) == data for name, data in entries.items())
        assert read.read("z/last") == b"last" * 50_000


def test_more_than_65535_entries() -> None:
    with ZipWriter() as writer:
        pieces = [piece for n in range(66_000) for piece in writer.add(f"{n}", b"x")]
        pieces += writer.finish()

    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as read:
        assert len(read.namelist()) == 66_000
        assert read.read("65999") == b"x"


def test_offset_beyond_four_gibibytes() -> None:
    with ZipWriter() as writer:
        writer._offset = 5 << 30  # noqa: SLF001 - five gibibytes take too long to write
        list(writer.add("far", b"x"))
        end = b"".join(writer.finish())

    assert (5 << 30).to_bytes(8, "little") in end
