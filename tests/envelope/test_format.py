"""One spelling for each value, and one error for every other.

An age file, seen from outside.
"""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.envelope import format as form
from listener.envelope.format import canonical_json, check_age, read_fields
from listener.errors import BadEnvelope

# The sealed envelope is the same for every example: nothing has to be reset in between.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused_or_same(data: bytes) -> None:
    """Whatever parses is spelt in the one way there is."""
    try:
        envelope = form.parse_envelope(data)
    except BadEnvelope:
        return
    assert data.startswith(
        form.MAGIC + canonical_json(envelope.header) + b"\n" + canonical_json(envelope.seal) + b"\n"
    )
    assert data.endswith(b"\n" + envelope.ciphertext)


def test_parsed_envelope_has_the_sealed_parts(sealed: bytes, header: form.PublicHeader) -> None:
    envelope = form.parse_envelope(sealed)

    assert envelope.header == header
    assert envelope.signed.count(b"\n") == 3
    assert len(envelope.signature) == 64
    assert envelope.seal.bytes == len(envelope.ciphertext)


@given(st.binary(max_size=4096))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    refused_or_same(data)
    refused_or_same(form.MAGIC + data)


@given(st.lists(st.sampled_from([b"\n", b"{", b"}", b'"', b"v", b":", b"1", b",", b"\\", b"["])))
def test_arbitrary_lines_raise_one_error(pieces: list[bytes]) -> None:
    line = b"".join(pieces)

    refused_or_same(form.MAGIC + line)
    with pytest.raises(BadEnvelope):
        form.parse_header(line)
    with pytest.raises(BadEnvelope):
        form.parse_comment(line)


@shared
@given(data=st.data())
def test_changed_envelope_is_refused_or_canonical(data: st.DataObject, sealed: bytes) -> None:
    body = sealed.index(b"age-encryption")
    start = data.draw(st.integers(0, body))
    end = data.draw(st.integers(start, min(body, start + 40)))
    new = data.draw(st.binary(max_size=40) | st.sampled_from([b"true", b"1e3", b"-0", b"null"]))

    refused_or_same(sealed[:start] + new + sealed[end:])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seq", "true"),
        ("seq", "0"),
        ("seq", "1000000000000"),
        ("seq", "1.0"),
        ("seq", "1e3"),
        ("seq", "9" * 1200),
        ("ttl_s", "NaN"),
        ("ttl_s", "Infinity"),
        ("ttl_s", '"1"'),
        ("owner", '"ada\\n"'),
        ("owner", '"Ada"'),
        ("owner", '"\\ud800"'),
        ("device", "null"),
        ("v", "2"),
        ("codec", '"opus"'),
    ],
)
def test_field_of_the_wrong_type_is_refused(
    field: str, value: str, header: form.PublicHeader
) -> None:
    fields = msgspec.structs.asdict(header) | {field: msgspec.Raw(value.encode())}
    line = msgspec.json.encode(fields, order="sorted")

    with pytest.raises(BadEnvelope):
        form.parse_header(line)


def test_header_line_is_limited_to_2048_bytes(sealed: bytes) -> None:
    rest = sealed[sealed.index(b"\n", len(form.MAGIC)) :]

    with pytest.raises(BadEnvelope, match="header is missing, unknown or out of its range"):
        form.parse_envelope(form.MAGIC + b"a" * 2048 + rest)
    with pytest.raises(BadEnvelope, match="no end within 2048"):
        form.parse_envelope(form.MAGIC + b"a" * 2049 + rest)
    with pytest.raises(BadEnvelope, match="too long"):
        form.parse_header(b"a" * 2049)


def test_oversized_envelope_is_refused_before_parsing() -> None:
    with pytest.raises(BadEnvelope, match="longer than"):
        form.parse_envelope(form.MAGIC + bytes(form.ENVELOPE_LIMIT_BYTES))


def test_oversized_comment_is_refused_before_parsing() -> None:
    with pytest.raises(BadEnvelope, match="too long"):
        form.parse_comment(b"[" * (form.PRIVATE_LIMIT_BYTES + 1))


def test_comment_round_trip(header: form.PublicHeader, private: form.PrivateFields) -> None:
    assert form.parse_comment(form.build_comment(header, private)) == (header, private)


def test_score_may_be_a_numpy_float(header: form.PublicHeader, private: form.PrivateFields) -> None:
    score: float = np.float32(0.5)  # type: ignore[assignment]  # what onnxruntime's users hand over

    text = form.build_comment(header, msgspec.structs.replace(private, score=score))

    assert form.parse_comment(text)[1].score == 0.5


def test_timestamp_is_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 22, 9, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))

    assert form.format_timestamp(moment) == "2026-11-22T08:00:00.123Z"
    assert form.format_timestamp(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00.000Z"


# The header and the fields are the same for every example: nothing has to be reset in between.


def test_canonical_json_round_trip(header: form.PublicHeader, private: form.PrivateFields) -> None:
    assert read_fields(canonical_json(header), form.PublicHeader, "header") == header
    assert read_fields(canonical_json(private), form.PrivateFields, "fields") == private


@pytest.mark.parametrize(("old", "new"), [(b",", b", "), (b'"ada"', b'"\\u0061da"')])
def test_non_canonical_json_is_refused(old: bytes, new: bytes, header: form.PublicHeader) -> None:
    other = canonical_json(header).replace(old, new, 1)

    assert msgspec.json.decode(other) == msgspec.json.decode(canonical_json(header))
    with pytest.raises(BadEnvelope, match="the header is not canonical JSON"):
        read_fields(other, form.PublicHeader, "header")


@given(st.binary(max_size=200))
def test_arbitrary_fields_raise_one_error(data: bytes) -> None:
    for text in (data, b'{"bytes":' + data, b"[" * 10_000):
        with pytest.raises(BadEnvelope):
            read_fields(text, form.Seal, "seal")


def test_error_names_the_field_without_its_value(header: form.PublicHeader) -> None:
    wrong = canonical_json(header).replace(b'"ada"', b'"Eve\\u001b[2J"')
    strange = canonical_json(header).replace(b'"codec"', b'"\\u001b[2J"')

    with pytest.raises(
        BadEnvelope, match=r"^the header: owner is missing, unknown or out of its range$"
    ):
        form.parse_header(wrong)
    with pytest.raises(BadEnvelope, match=r"^the header is missing, unknown or out of its range$"):
        form.parse_header(strange)


@shared
@given(score=st.floats(0, 1), spk=st.none() | st.floats(-1, 1))
def test_fractions_have_one_to_four_decimals_and_no_exponent(
    score: float, spk: float | None, header: form.PublicHeader, private: form.PrivateFields
) -> None:
    fields = msgspec.structs.replace(private, score=score, spk=spk)

    text = form.build_comment(header, fields)

    _, found = form.parse_comment(text)
    assert abs(found.score - score) <= 0.5e-4 + 1e-12
    assert (found.spk is None) == (spk is None)
    assert b"e-" not in text.split(b'"score":')[1].split(b",")[0]
    assert b'"-0.0"' not in text
    assert form.build_comment(header, found) == text


@pytest.mark.parametrize(
    ("value", "spelt"),
    [(0, b"0.0"), (1, b"1.0"), (-0.00001, b"0.0"), (1e-5, b"0.0"), (0.5, b"0.5"), (-1.0, b"-1.0")],
)
def test_fraction_has_one_canonical_text(
    value: float, spelt: bytes, header: form.PublicHeader, private: form.PrivateFields
) -> None:
    fields = msgspec.structs.replace(private, spk=value)

    assert b'"spk":' + spelt + b"," in form.build_comment(header, fields)


@pytest.mark.parametrize("size", [0, 1, 100, 70_000])
def test_age_file_for_one_recipient_is_accepted(size: int, owners: dict[str, str]) -> None:
    recipient = pyrage.x25519.Recipient.from_str(owners["ada"])

    # Its noise is random: many draws meet its whole range.
    for _ in range(50):
        check_age(pyrage.encrypt(bytes(size), [recipient]))


def test_age_file_for_two_recipients_is_refused(owners: dict[str, str]) -> None:
    recipients = [pyrage.x25519.Recipient.from_str(key) for key in owners.values()]

    with pytest.raises(BadEnvelope, match="exactly one"):
        check_age(pyrage.encrypt(b"clip", recipients))


def test_age_file_without_payload_is_truncated(
    sealed: bytes,
) -> None:
    body = form.parse_envelope(sealed).ciphertext
    end_of_header = body.index(b"\n", body.index(b"\n--- ") + 1) + 1

    check_age(body[: end_of_header + 32])
    with pytest.raises(BadEnvelope, match="truncated"):
        check_age(body[: end_of_header + 31])


@given(st.binary(max_size=600))
def test_arbitrary_ciphertext_raises_one_error(data: bytes) -> None:
    for text in (data, b"age-encryption.org/v1\n-> X25519 " + data):
        with pytest.raises(BadEnvelope):
            check_age(text)
