import base64
from pathlib import Path

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.errors import EarmarkError, UsageError
from listener.firstboot import plan
from listener.household import ca, invitation
from listener.household.invitation import Invitation
from tests.household.guests import Earmark

TOKEN = "t" * 22
ARCHIVE = keys.device_text(Ed25519PrivateKey.generate().public_key())
INVITED = Invitation(
    cn="d-hall", host="home.local", port=8884, fingerprint="0" * 64, token=TOKEN, archive=ARCHIVE
)


def test_invitation_line_survives_wrapping() -> None:
    line = INVITED.line()

    assert invitation.parse_line(line) == INVITED
    assert invitation.parse_line(f" {line[:80]}\n{line[80:]}\r\n") == INVITED
    assert len(line) < 500


@pytest.mark.parametrize(
    "change",
    [
        {"cn": "d-archive"},
        {"cn": "d-a/b"},
        {"port": 0},
        {"token": "short"},
        {"more": 1},
        {"archive": "x"},
    ],
)
def test_invitation_with_an_invalid_field_is_refused(change: dict[str, object]) -> None:
    fields = msgspec.to_builtins(INVITED) | change
    line = invitation.PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(fields)).decode()

    with pytest.raises(UsageError, match="not an invitation"):
        invitation.parse_line(line)


@given(st.text(max_size=100))
def test_other_text_is_refused_and_not_repeated(text: str) -> None:
    for line in (text, invitation.PREFIX + text):
        with pytest.raises(UsageError, match="not an invitation") as caught:
            invitation.parse_line(line)
        assert len(text) < 20 or text not in str(caught.value)


def test_request_proves_both_keys() -> None:
    key, signer = ca.new_key(), Ed25519PrivateKey.generate()

    request = invitation.build_request(TOKEN, key, signer)
    public, device_key = invitation.verify_request(
        invitation.decode_request(msgspec.json.encode(request))
    )

    assert public == key.public_key()
    assert device_key == keys.device_text(signer.public_key())
    assert invitation.verify_request(invitation.build_request(TOKEN, key, None)) == (
        key.public_key(),
        None,
    )


def test_unproved_device_key_is_refused() -> None:
    signer, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    request = invitation.build_request(TOKEN, ca.new_key(), signer)
    other = invitation.build_request(TOKEN, ca.new_key(), signer)
    stolen = keys.device_text(stranger.public_key())

    for forged in (
        msgspec.structs.replace(request, device_key=stolen),
        msgspec.structs.replace(request, proof=other.proof),
        msgspec.structs.replace(request, proof=None),
        msgspec.structs.replace(request, csr=other.csr),
        msgspec.structs.replace(request, csr="no"),
        msgspec.structs.replace(request, csr="ä"),
        msgspec.structs.replace(request, device_key="ed25519:no"),
    ):
        with pytest.raises(EarmarkError, match="no valid signature"):
            invitation.verify_request(forged)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(EarmarkError, match="not a join message"):
        invitation.decode_request(data)


def test_message_that_is_too_long_is_refused() -> None:
    with pytest.raises(EarmarkError):
        invitation.decode_answer(b'{"v":1}' + b" " * invitation.LONGEST_BYTES)
    assert invitation.decode_answer(b'{"v":1}') == invitation.JoinAnswer()


KEY = str(pyrage.x25519.Identity.generate().to_public())


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "bootfs"
    folder.mkdir()
    return folder


def read(card: Path) -> plan.FirstBootPlan:
    return plan.parse(plan.parse_tables((card / "earmark.toml").read_text(), "card"), "card")


def test_card_is_written_as_first_boot_reads_it(ready: Earmark, card: Path) -> None:
    ready("owner", "add", "ada", "--key", KEY)
    words = ("household", "add-device", "hall", "--no-wait", "--card", str(card))

    code, out, err = ready(*words, "--keeper", "ada")

    assert code == 0
    assert "earmark: wrote" in err
    found = read(card)
    assert found.line is not None
    assert found.line.line() == out.strip()
    assert (found.owner.name, found.owner.key) == ("ada", KEY)
    assert ready(*words)[0] == 2, "a card is not written over"


def test_card_without_a_keeper_holds_only_the_line(ready: Earmark, card: Path) -> None:
    assert ready("household", "add-device", "hall", "--no-wait", "--card", str(card))[0] == 0

    assert read(card).owner.name is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (("--keeper", "ada"), "--card DIR"),
        (("--card", "/nowhere"), "no folder /nowhere"),
        (("--card", ".", "--keeper", "eve"), "no owner 'eve'"),
    ],
)
def test_unusable_card_is_refused(
    more: tuple[str, ...], why: str, ready: Earmark, home: Path
) -> None:
    ready("owner", "add", "ada", "--key", KEY)
    before = (home / "household" / "register.json").read_bytes()

    code, _, err = ready("household", "add-device", "hall", "--no-wait", *more)

    assert code == 2
    assert why in err
    assert (home / "household" / "register.json").read_bytes() == before


def test_write_error_on_the_card_is_reported(ready: Earmark, card: Path) -> None:
    (card / "earmark.toml").symlink_to("/nowhere/at/all")

    code, _, err = ready("household", "add-device", "hall", "--no-wait", "--card", str(card))

    assert code == 69
    assert "cannot write" in err
