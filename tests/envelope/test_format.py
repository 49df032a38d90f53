from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.envelope import format as form
from listener.envelope.canonical import canonical_json
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


def test_an_envelope_comes_apart_into_what_was_sealed(
    sealed: bytes, header: form.PublicHeader
) -> None:
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
def test_a_changed_envelope_is_refused_or_spelt_canonically(
    data: st.DataObject, sealed: bytes
) -> None:
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
def test_a_field_of_the_wrong_kind_is_refused(
    field: str, value: str, header: form.PublicHeader
) -> None:
    fields = msgspec.structs.asdict(header) | {field: msgspec.Raw(value.encode())}
    line = msgspec.json.encode(fields, order="sorted")

    with pytest.raises(BadEnvelope):
        form.parse_header(line)


def test_a_header_of_2048_bytes_is_the_longest_line_read(sealed: bytes) -> None:
    rest = sealed[sealed.index(b"\n", len(form.MAGIC)) :]

    with pytest.raises(BadEnvelope, match="header is not"):
        form.parse_envelope(form.MAGIC + b"a" * 2048 + rest)
    with pytest.raises(BadEnvelope, match="no end within 2048"):
        form.parse_envelope(form.MAGIC + b"a" * 2049 + rest)
    with pytest.raises(BadEnvelope, match="too long"):
        form.parse_header(b"a" * 2049)


def test_an_envelope_longer_than_any_is_refused_unread() -> None:
    with pytest.raises(BadEnvelope, match="longer than"):
        form.parse_envelope(form.MAGIC + bytes(form.ENVELOPE_LIMIT_BYTES))


def test_a_comment_longer_than_any_is_refused_unread() -> None:
    with pytest.raises(BadEnvelope, match="too long"):
        form.parse_comment(b"[" * (form.PRIVATE_LIMIT_BYTES + 1))


def test_a_comment_comes_back_as_it_was_written(
    header: form.PublicHeader, private: form.PrivateFields
) -> None:
    assert form.parse_comment(form.build_comment(header, private)) == (header, private)


def test_a_score_may_be_any_librarys_number(
    header: form.PublicHeader, private: form.PrivateFields
) -> None:
    score: float = np.float32(0.5)  # type: ignore[assignment]  # what onnxruntime's users hand over

    text = form.build_comment(header, msgspec.structs.replace(private, score=score))

    assert form.parse_comment(text)[1].score == 0.5


def test_a_moment_is_written_in_utc_and_milliseconds() -> None:
    moment = datetime(2026, 11, 22, 9, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))

    assert form.format_timestamp(moment) == "2026-11-22T08:00:00.123Z"
    assert form.format_timestamp(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00.000Z"
