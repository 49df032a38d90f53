"""The clip store: ciphertext files and their index."""

import contextlib
import os
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from listener.archive.elapsed_time import ArchiveTime
from listener.archive.files import find_envelope_file, read_envelope_file
from listener.archive.owner_state import MOST_SPANS, OwnerState, make_tombstone
from listener.archive.pending_messages import PendingMessage
from listener.archive.receiver import Receiver
from listener.archive.records import Erased, Replayed
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.errors import Unavailable, UsageError
from tests.archive.stored_clips import (
    REPLACEMENTS,
    T_S,
    T,
    replace_file,
    store_clip,
    stored_path,
)
from tests.archive.tampering import update_rows

if TYPE_CHECKING:
    from tests.conftest import Household


def test_files_and_index_are_for_their_user_only(
    store: FileStore, household: "Household", folder: Path
) -> None:
    store_clip(store, household)

    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_clips_are_listed_by_time_and_by_owner(store: FileStore, household: "Household") -> None:
    late = store_clip(store, household, 1, t="2026-11-22T09:00:00.000Z")
    early = store_clip(store, household, 2, t="2026-11-22T07:00:00.000Z")
    other = store_clip(store, household, 3, owner="bob")

    assert [entry.clip for entry in store.clips()] == [early.clip, other.clip, late.clip]
    assert [entry.clip for entry in store.clips("bob")] == [other.clip]
    assert list(store.clips("nobody")) == []


def test_tampered_index_expires_no_clip_of_another_owner(
    store: FileStore, receiver: Receiver, household: "Household", folder: Path
) -> None:
    others = store_clip(store, household, owner="bob", ttl_s=30 * 86_400)
    store.owner_state.set_retention("ada", 1)
    update_rows(store, "owner = 'ada', expires_s = 1")

    assert store.expire(T_S + 2 * 86_400) == 0
    store.repair(receiver.verify)

    assert stored_path(folder, others).exists()
    assert [entry.clip for entry in store.clips("bob")] == [others.clip]
    assert not store.owner_state.is_erased(others.clip)


def test_existing_file_is_never_overwritten(
    store: FileStore, household: "Household", folder: Path
) -> None:
    header = household.header(1)
    data = household.seal(header)
    path = stored_path(folder, header)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another")

    with pytest.raises(Replayed):
        store.keep(form.parse_envelope(data), data, T_S)

    assert path.read_bytes() == b"another"
    assert list(store.clips()) == []


def test_retention_counts_from_the_signed_time_that_the_running_time_supports(
    store: FileStore, household: "Household", folder: Path
) -> None:
    header = store_clip(store, household, received_s=T_S + 3600, waited_s=3600)

    assert store.expire(T_S + 86_399) == 0
    assert store.expire(T_S + 86_400) == 1

    assert list(store.clips()) == []
    assert not stored_path(folder, header).exists()


def test_speaker_with_a_late_clock_does_not_shorten_retention(
    store: FileStore, household: "Household"
) -> None:
    store_clip(store, household, received_s=T_S + 3 * 86_400, waited_s=20)

    assert store.expire(T_S + 4 * 86_400 - 21) == 0
    assert store.expire(T_S + 4 * 86_400 - 20) == 1


@pytest.mark.parametrize("kind", REPLACEMENTS)
def test_file_that_is_not_regular_keeps_no_other_clip_from_its_expiry(
    store: FileStore, household: "Household", folder: Path, tmp_path: Path, kind: str
) -> None:
    """A pipe would make ``open`` wait without end, with the store's lock."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    odd, clip = store_clip(store, household, 1), store_clip(store, household, 2)
    replace_file(stored_path(folder, odd), kind, precious)

    assert store.expire(T_S + 86_400) == 2

    assert not stored_path(folder, clip).exists()
    assert os.path.lexists(stored_path(folder, odd)) == (kind == "folder")
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("t", ["1970-01-01T00:00:00.000Z", "2031-01-01T00:00:00.000Z"])
def test_implausible_time_counts_retention_from_arrival(
    store: FileStore, household: "Household", t: str
) -> None:
    store_clip(store, household, t=t)

    assert store.expire(T_S + 86_399) == 0
    assert store.expire(T_S + 86_400) == 1


def test_erased_clip_is_not_stored_again(
    store: FileStore, receiver: Receiver, household: "Household", folder: Path
) -> None:
    header = household.header(1, t=T)
    data = household.seal(header)
    store.keep(form.parse_envelope(data), data, T_S)
    store.expire(T_S + 86_400)

    with pytest.raises(Erased):
        store.keep(form.parse_envelope(data), data, T_S)
    relabelled = household.seal(msgspec.structs.replace(header, seq=2))
    with pytest.raises(Replayed):
        store.keep(form.parse_envelope(relabelled), relabelled, T_S)

    stored_path(folder, header).write_bytes(data)
    store.repair(receiver.verify)
    assert not stored_path(folder, header).exists()


def test_erased_clip_leaves_no_owner_or_time_on_disk(
    store: FileStore, household: "Household", folder: Path
) -> None:
    header = store_clip(store, household)
    store.expire(T_S + 86_400)
    store.close()

    text = b"".join(path.read_bytes() for path in folder.glob("index.sqlite*"))
    tombstones = b"".join(path.read_bytes() for path in folder.parent.glob("orders.sqlite*"))

    assert header.clip.encode() not in text
    assert header.clip.encode() in tombstones
    assert header.t.encode() not in text + tombstones
    assert b"adahall" not in text + tombstones


def test_invalid_index_file_is_an_error(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "index.sqlite").write_bytes(b"this is no database, and never was entry" * 100)

    with pytest.raises(Unavailable, match="index"):
        FileStore(folder)


@pytest.fixture
def short_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("short_files")
def test_full_disk_leaves_no_partial_file(
    household: "Household", store: FileStore, folder: Path
) -> None:
    header = household.header(1)
    data = household.seal(header, lambda _: b"fLaC" + bytes(1 << 19))

    with pytest.raises(Unavailable):
        store.keep(form.parse_envelope(data), data, T_S)

    assert not list(folder.rglob("*.earmark*"))


def test_clip_is_found_without_the_index(
    store: FileStore, household: "Household", folder: Path
) -> None:
    header = store_clip(store, household)
    (folder / "index.sqlite").unlink()

    assert find_envelope_file(folder, header.clip) == stored_path(folder, header)
    assert find_envelope_file(folder, "../../etc/passwd") is None
    assert find_envelope_file(folder, household.header(2).clip) is None


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")

    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic|not a regular file"):
            read_envelope_file(tmp_path / name)


def test_closed_index_is_unavailable(store: FileStore, folder: Path) -> None:
    store.close()

    with pytest.raises(Unavailable):
        list(store.clips())
    with pytest.raises(Unavailable):
        store.expire(0)
    assert sqlite3.connect(folder / "index.sqlite").close() is None  # type: ignore[func-returns-value] # the file itself is sound


def test_pending_key_rotations_are_bounded(store: FileStore) -> None:
    for number in range(40):
        store.owner_state.set_pending_keys("ada", {"hall": str(number), "kitchen": "x"})

    assert [pending.text for pending in store.owner_state.pending_keys()["hall"]] == [
        str(number) for number in range(24, 40)
    ]


def test_pending_key_rotations_of_one_owner_displace_no_other_owners(store: FileStore) -> None:
    store.owner_state.set_pending_keys("ada", {"hall": "key", "kitchen": "key"})
    for number in range(40):
        store.owner_state.set_pending_keys("bob", {"hall": str(number)})

    pending = store.owner_state.pending_keys()
    assert PendingMessage("ada", "key") in pending["hall"]
    assert len(pending["hall"]) == 17
    assert pending["kitchen"] == [PendingMessage("ada", "key")]


def test_pending_key_rotations_of_an_earlier_version_keep_their_owner(home: Path) -> None:
    path = home / "orders.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as earlier:
        earlier.execute(
            "create table following (id integer primary key, device text not null,"
            " said text not null) strict"
        )
        said = '{"owner":"ada","new":"age1new"}'
        earlier.execute("insert into following (device, said) values ('hall', ?)", (said,))
        earlier.commit()

    with contextlib.closing(OwnerState(path)) as state:
        assert state.pending_keys() == {"hall": [PendingMessage("ada", said)]}
        assert state.devices_with_pending_key("ada", "age1new") == ["hall"]
        assert state.devices_with_pending_key("bob", "age1new") == []


def test_erase_orders_are_bounded_for_each_owner(store: FileStore) -> None:
    def order(owner: str, second: int) -> None:
        span = (f"2026-11-21T08:{second // 60:02}:{second % 60:02}.000Z",) * 2
        store.owner_state.refuse_span(owner, span, None, {}, ArchiveTime(T_S, 0.0, T_S))

    for second in range(MOST_SPANS):
        order("bob", second)
    with pytest.raises(UsageError, match="too many orders"):
        order("bob", MOST_SPANS)
    order("ada", 0)
    # One order that contains the others takes their place.
    store.owner_state.refuse_span("bob", ("", "A"), None, {}, ArchiveTime(T_S, 0.0, T_S))
    order("bob", 0)


def test_repeated_retention_limit_is_published_once(store: FileStore) -> None:
    store.owner_state.set_retention("ada", 7)
    before = store.owner_state.version, store.owner_state.retention_limits()

    store.owner_state.set_retention("ada", 7)

    assert (store.owner_state.version, store.owner_state.retention_limits()) == before
    store.owner_state.set_retention("ada", 8)
    assert store.owner_state.version == before[0] + 1
    assert store.owner_state.retention_limits()[0].n == 2


def test_record_of_an_owners_devices_outlives_the_clips(
    store: FileStore, folder: Path, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    store.keep(form.parse_envelope(data), data, T_S)
    store.erase("ada", [make_tombstone(form.parse_envelope(data), "0" * 64)])

    assert store.has_sealed("ada", "hall")
    assert not store.has_sealed("bob", "hall")
    assert not store.has_sealed("ada", "kitchen")
    store.close()
    with contextlib.closing(FileStore(folder)) as again:
        assert again.has_sealed("ada", "hall")
