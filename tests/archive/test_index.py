"""The index without files."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.archive.index import PLAUSIBLE_S, ClipIndex
from listener.archive.records import RowMac
from listener.envelope import format as form

if TYPE_CHECKING:
    from tests.conftest import Household

T_S = 1_795_334_400


@pytest.fixture
def index(tmp_path: Path) -> Iterator[ClipIndex]:
    opened = ClipIndex(tmp_path / "index.sqlite", RowMac(b"secret"))
    yield opened
    opened.close()


def add(index: ClipIndex, household: "Household", seq: int, **fields: object) -> form.PublicHeader:
    header_fields: dict[str, Any] = {"t": "2026-11-22T08:00:00.000Z"} | fields
    header = household.header(seq, **header_fields)
    data = household.seal(header)
    index.add(form.parse_envelope(data), data, T_S)
    return header


def test_new_row_has_a_valid_mac_and_a_changed_one_does_not(
    index: ClipIndex, household: "Household"
) -> None:
    header = add(index, household, 1)
    assert index.unverified_rows() == []

    index.rows.execute("update clip set owner = 'bob'")

    assert [record.clip for record in index.unverified_rows()] == [header.clip]
    ((_, has_valid_mac),) = index.page_with_mac_check(
        "bob", ("", "A"), device=None, after="", limit=9
    )
    assert not has_valid_mac
    index.write_macs(index.unverified_rows())
    assert index.unverified_rows() == []


def test_expired_rows_by_owner_without_invalid_macs(
    index: ClipIndex, household: "Household"
) -> None:
    first = add(index, household, 1, ttl_s=60)
    second = add(index, household, 2, owner="bob", ttl_s=9 * 86_400)
    third = add(index, household, 3, ttl_s=60)
    index.rows.execute("update clip set code = '' where clip = ?", (third.clip,))

    expired = index.expired(T_S + 2 * 86_400, {"bob": 1})

    assert {
        owner: [entry.clip for entry in tombstones] for owner, tombstones in expired.items()
    } == {
        "ada": [first.clip],
        "bob": [second.clip],
    }


def test_newest_clip_of_a_device_is_by_number_and_not_by_its_clock(
    index: ClipIndex, household: "Household"
) -> None:
    add(index, household, 1, t="2040-11-22T09:00:00.000Z")
    newest = add(index, household, 3)
    add(index, household, 2, t="2026-11-22T09:00:00.000Z")

    assert index.newest("ada", "hall") == newest.clip
    assert index.newest("bob", "hall") is None


def test_file_that_is_not_an_index_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"no index" * 1000)

    with pytest.raises(sqlite3.Error):
        ClipIndex(tmp_path / "index.sqlite", RowMac())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    signed_s=st.integers(0, 4_000_000_000),
    near_s=st.integers(-20 * 86_400, 20 * 86_400),
    is_near=st.booleans(),
    waited_s=st.integers(-10, 10**10),
)
def test_retention_is_shortened_by_two_witnesses_at_most(
    tmp_path: Path,
    household: "Household",
    signed_s: int,
    near_s: int,
    waited_s: int,
    *,
    is_near: bool,
) -> None:
    taken_s = T_S + near_s if is_near else signed_s
    moment = datetime.fromtimestamp(taken_s, UTC)
    header = household.header(1, t=form.format_timestamp(moment), ttl_s=86_400)
    data = household.seal(header, lambda _: b"fLaC")
    (tmp_path / "index.sqlite").unlink(missing_ok=True)
    index = ClipIndex(tmp_path / "index.sqlite", RowMac())
    record = index.add(form.parse_envelope(data), data, T_S, waited_s)
    index.close()

    shortened_s = T_S + 86_400 - record.expires_s
    assert 0 <= shortened_s <= max(0, waited_s)
    assert shortened_s <= max(0, T_S - taken_s)
    assert shortened_s <= PLAUSIBLE_S
