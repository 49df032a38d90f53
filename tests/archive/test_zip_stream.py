"""A ZIP made on the way is read by others."""

import io
import tempfile
import zipfile

from hypothesis import given
from hypothesis import strategies as st

from listener.archive.zip_stream import ZipWriter

NAMES = st.text("abcdefghij/-.", min_size=1, max_size=30)


@given(entries=st.dictionaries(NAMES, st.binary(max_size=500), max_size=8))
def test_what_goes_in_comes_out(entries: dict[str, bytes]) -> None:
    with ZipWriter() as made, tempfile.TemporaryFile() as file:
        file.write(b"last" * 50_000)
        pieces = [piece for name, data in entries.items() for piece in made.add(name, data)]
        pieces += [*made.add_file("z/last", file), *made.finish()]

    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as read:
        assert read.testzip() is None
        assert read.namelist() == [*entries, "z/last"]
        assert all(read.read(name) == data for name, data in entries.items())
        assert read.read("z/last") == b"last" * 50_000


def test_more_entries_than_the_old_format_holds() -> None:
    with ZipWriter() as made:
        pieces = [piece for n in range(66_000) for piece in made.add(f"{n}", b"x")]
        pieces += made.finish()

    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as read:
        assert len(read.namelist()) == 66_000
        assert read.read("65999") == b"x"


def test_an_offset_beyond_four_gibibytes_is_found() -> None:
    with ZipWriter() as made:
        made._offset = 5 << 30  # noqa: SLF001 - five gibibytes take too long to write
        list(made.add("far", b"x"))
        end = b"".join(made.finish())

    assert (5 << 30).to_bytes(8, "little") in end
