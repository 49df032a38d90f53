"""A log that was changed is named at the row where it was."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.rights import hash_chain
from listener.rights.hash_chain import ORIGIN, BrokenChain, LogBody, LogHead, LogRow


def made(number: int) -> list[dict[str, Any]]:
    rows = []
    before = ORIGIN
    for n in range(1, number + 1):
        body = LogBody(
            n=n,
            t="2026-11-22T08:00:00.000Z",
            owner="ada",
            op="list",
            outcome="done",
            salt=f"{n:032x}",
        )
        sha256 = hash_chain.parse_row({"n": n, "hash": ORIGIN, "body": msgspec.to_builtins(body)})
        before = hash_chain.row_hash(n, before, sha256.body_sha256)
        rows.append({"n": n, "hash": before, "body": msgspec.to_builtins(body)})
    return rows


def checked(rows: list[dict[str, Any]], *heads: LogHead) -> LogHead:
    return hash_chain.verify_chain(map(hash_chain.parse_row, rows), heads)


def head(rows: list[dict[str, Any]], n: int) -> LogHead:
    return LogHead(n=n, hash=rows[n - 1]["hash"])


def test_complete_chain_matches_every_head() -> None:
    rows = made(9)

    assert checked(rows, head(rows, 4), head(rows, 9)) == head(rows, 9)
    assert checked([]) == LogHead(n=0, hash=ORIGIN)
    later = hash_chain.verify_chain(map(hash_chain.parse_row, rows[5:]), before=head(rows, 5))
    assert later == head(rows, 9)


def test_start_of_a_part_is_compared_with_the_known_heads() -> None:
    rows = made(9)
    start = hash_chain.parse_start({"n": 5, "hash": rows[4]["hash"]})
    assert start == head(rows, 5)
    for line in (rows[4], {"n": 5}, {"n": -1, "hash": ORIGIN}, {"n": 5, "hash": "x"}, {}):
        assert hash_chain.parse_start(line) is None

    later = list(map(hash_chain.parse_row, rows[5:]))
    known = [head(rows, 3), head(rows, 5), head(rows, 7)]
    assert hash_chain.verify_chain(later, known, before=start) == head(rows, 9)
    with pytest.raises(BrokenChain, match="row 5"):
        hash_chain.verify_chain(later, [LogHead(n=5, hash=ORIGIN)], before=start)
    with pytest.raises(BrokenChain, match="row 6"):
        hash_chain.verify_chain(later, before=LogHead(n=5, hash=ORIGIN))


def test_redacted_row_keeps_the_chain_valid() -> None:
    rows = made(5)
    whole = hash_chain.parse_row(rows[2])
    rows[2] = {"n": 3, "hash": rows[2]["hash"], "body_sha256": whole.body_sha256}

    assert checked(rows) == head(made(5), 5)


@given(n=st.integers(1, 9), field=st.sampled_from(["owner", "op", "t", "count", "salt"]))
def test_changed_row_is_reported_by_number(n: int, field: str) -> None:
    rows = made(9)
    other = {"owner": "bob", "op": "play", "t": "2026-11-22T08:00:00.001Z", "count": 7}
    rows[n - 1]["body"][field] = other.get(field, "f" * 32)

    with pytest.raises(BrokenChain) as caught:
        checked(rows)

    assert caught.value.n == n
    assert f"row {n}:" in str(caught.value)


@given(n=st.integers(1, 8))
def test_removed_row_is_reported_by_number(n: int) -> None:
    rows = made(9)
    del rows[n - 1]

    with pytest.raises(BrokenChain) as caught:
        checked(rows)

    assert caught.value.n == n


def test_truncated_log_is_detected_by_a_head() -> None:
    rows = made(9)

    with pytest.raises(BrokenChain, match="published head is row 9") as caught:
        checked(rows[:6], head(rows, 9))

    assert caught.value.n == 7


def test_recomputed_chain_is_detected_at_the_next_head() -> None:
    rows, known = made(9), head(made(9), 7)
    forged = made(9)
    for row in forged[4:]:
        row["body"]["owner"] = "bob"
    before = forged[3]["hash"]
    for row in forged[4:]:
        body = hash_chain.parse_row(row)
        row["hash"] = before = hash_chain.row_hash(row["n"], before, body.body_sha256)

    checked(forged)
    with pytest.raises(BrokenChain) as caught:
        checked(forged, head(rows, 4), known)

    assert caught.value.n == 7


def test_two_different_heads_for_a_row_break_the_chain() -> None:
    with pytest.raises(BrokenChain, match="two heads"):
        hash_chain.verify_chain([], [LogHead(n=1, hash="0" * 64), LogHead(n=1, hash="1" * 64)])


@given(
    fields=st.dictionaries(
        st.sampled_from(["n", "hash", "body", "body_sha256"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.text(max_size=64),
            st.dictionaries(st.text(), st.text()),
        ),
    )
)
def test_arbitrary_rows_raise_one_error(fields: dict[str, Any]) -> None:
    try:
        found = hash_chain.parse_row(fields)
    except BrokenChain:
        return
    assert isinstance(found, LogRow)
    assert json.dumps(fields)
