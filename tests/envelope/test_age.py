"""An age file, seen from outside."""

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import format as form
from listener.envelope.age import check_age
from listener.errors import BadEnvelope


@pytest.mark.parametrize("size", [0, 1, 100, 70_000])
def test_what_age_makes_for_one_key_passes(size: int, owners: dict[str, str]) -> None:
    recipient = pyrage.x25519.Recipient.from_str(owners["ada"])

    # Its noise is random: many draws meet its whole range.
    for _ in range(50):
        check_age(pyrage.encrypt(bytes(size), [recipient]))


def test_another_recipient_is_seen_from_outside(owners: dict[str, str]) -> None:
    recipients = [pyrage.x25519.Recipient.from_str(key) for key in owners.values()]

    with pytest.raises(BadEnvelope, match="exactly one"):
        check_age(pyrage.encrypt(b"clip", recipients))


def test_an_age_file_without_its_payload_is_cut_short(
    sealed: bytes,
) -> None:
    body = form.parse_envelope(sealed).ciphertext
    end_of_header = body.index(b"\n", body.index(b"\n--- ") + 1) + 1

    check_age(body[: end_of_header + 32])
    with pytest.raises(BadEnvelope, match="cut short"):
        check_age(body[: end_of_header + 31])


@given(st.binary(max_size=600))
def test_arbitrary_ciphertext_raises_one_error(data: bytes) -> None:
    for text in (data, b"age-encryption.org/v1\n-> X25519 " + data):
        with pytest.raises(BadEnvelope):
            check_age(text)
