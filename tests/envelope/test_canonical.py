"""One spelling for each value, and one error for every other."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.envelope import format as form
from listener.envelope.canonical import canonical_json, read_fields
from listener.errors import BadEnvelope

# The header and the fields are the same for every example: nothing has to be reset in between.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_what_was_spelled_reads_the_same(
    header: form.PublicHeader, private: form.PrivateFields
) -> None:
    assert read_fields(canonical_json(header), form.PublicHeader, "header") == header
    assert read_fields(canonical_json(private), form.PrivateFields, "fields") == private


@pytest.mark.parametrize(("old", "new"), [(b",", b", "), (b'"ada"', b'"\\u0061da"')])
def test_another_spelling_of_the_same_is_refused(
    old: bytes, new: bytes, header: form.PublicHeader
) -> None:
    other = canonical_json(header).replace(old, new, 1)

    assert msgspec.json.decode(other) == msgspec.json.decode(canonical_json(header))
    with pytest.raises(BadEnvelope, match="the header is not canonical JSON"):
        read_fields(other, form.PublicHeader, "header")


@given(st.binary(max_size=200))
def test_arbitrary_fields_raise_one_error(data: bytes) -> None:
    for text in (data, b'{"bytes":' + data, b"[" * 10_000):
        with pytest.raises(BadEnvelope):
            read_fields(text, form.Seal, "seal")


def test_an_error_names_the_field_and_repeats_nothing_foreign(header: form.PublicHeader) -> None:
    wrong = canonical_json(header).replace(b'"ada"', b'"Eve\\u001b[2J"')
    strange = canonical_json(header).replace(b'"codec"', b'"\\u001b[2J"')

    with pytest.raises(BadEnvelope, match=r"^the header: owner is not what it must be$"):
        form.parse_header(wrong)
    with pytest.raises(BadEnvelope, match=r"^the header is not what it must be$"):
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
def test_a_fraction_has_one_spelling(
    value: float, spelt: bytes, header: form.PublicHeader, private: form.PrivateFields
) -> None:
    fields = msgspec.structs.replace(private, spk=value)

    assert b'"spk":' + spelt + b"," in form.build_comment(header, fields)
