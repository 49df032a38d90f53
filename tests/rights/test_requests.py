"""Nothing but the requests of the table, and none with a recipient."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import UsageError
from listener.rights import requests

OPS = ("list", "play", "export", "erase", "retention", "log", "keys", "new-key", "voice")


def asked(**fields: object) -> requests.Request:
    return requests.parse(msgspec.json.encode({"owner": "ada", "request": fields})).request


def test_request_has_one_canonical_form_and_digest() -> None:
    one = asked(op="list", device="hall", limit=1000)
    other = asked(limit=1000, device="hall", op="list")

    assert requests.canonical(one) == b'{"device":"hall","op":"list"}'
    assert requests.digest(one) == requests.digest(other)
    assert requests.digest(one) != requests.digest(asked(op="list"))
    assert one.op == "list"


def test_day_covers_all_its_timestamps() -> None:
    first, last = requests.time_span(requests.ListRequest(day="2026-11-22"))

    for moment in ("2026-11-22T00:00:00.000Z", "2026-11-22T23:59:59.999Z"):
        assert first <= moment < last
    assert last < "2026-11-23T00:00:00.000Z"


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("field", ["to", "recipient", "recipients", "owner", "okey", "share"])
def test_request_with_a_recipient_field_is_refused(op: str, field: str) -> None:
    fields: dict[str, object] = {"op": op, field: "bob"}
    if op == "play":
        fields["clip"] = "00000000-0000-4000-8000-000000000000"
    if op == "erase":
        fields["all"] = True

    with pytest.raises(UsageError):
        asked(**fields)


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(UsageError):
        requests.parse(data)


@pytest.mark.parametrize(
    "name",
    ["a/b", "a+b", "#", "..", "a\0", "Ada", "аda", "ada\n", "", "a" * 33, "ａda", "ada\u200b"],  # noqa: RUF001 - look-alikes are the point
)
def test_invalid_owner_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        requests.parse(msgspec.json.encode({"owner": name, "request": {"op": "list"}}))
