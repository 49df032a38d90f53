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


def test_a_line_is_read_as_it_was_written_however_a_terminal_wrapped_it() -> None:
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
def test_a_line_with_anything_impossible_is_refused(change: dict[str, object]) -> None:
    fields = msgspec.to_builtins(INVITED) | change
    line = invitation.PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(fields)).decode()

    with pytest.raises(UsageError, match="no invitation"):
        invitation.parse_line(line)


@given(st.text(max_size=100))
def test_any_other_text_is_refused_and_not_repeated(text: str) -> None:
    for line in (text, invitation.PREFIX + text):
        with pytest.raises(UsageError, match="no invitation") as caught:
            invitation.parse_line(line)
        assert len(text) < 20 or text not in str(caught.value)


def test_a_request_proves_both_keys() -> None:
    key, signer = ca.new_key(), Ed25519PrivateKey.generate()

    asked = invitation.build_request(TOKEN, key, signer)
    public, device_key = invitation.verify_request(
        invitation.decode_request(msgspec.json.encode(asked))
    )

    assert public == key.public_key()
    assert device_key == keys.device_text(signer.public_key())
    assert invitation.verify_request(invitation.build_request(TOKEN, key, None)) == (
        key.public_key(),
        None,
    )


def test_a_device_s_key_of_somebody_else_is_refused() -> None:
    signer, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    asked = invitation.build_request(TOKEN, ca.new_key(), signer)
    other = invitation.build_request(TOKEN, ca.new_key(), signer)
    stolen = keys.device_text(stranger.public_key())

    for forged in (
        msgspec.structs.replace(asked, device_key=stolen),
        msgspec.structs.replace(asked, proof=other.proof),
        msgspec.structs.replace(asked, proof=None),
        msgspec.structs.replace(asked, csr=other.csr),
        msgspec.structs.replace(asked, csr="no"),
        msgspec.structs.replace(asked, csr="ä"),
        msgspec.structs.replace(asked, device_key="ed25519:no"),
    ):
        with pytest.raises(EarmarkError, match="not proved"):
            invitation.verify_request(forged)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(EarmarkError, match="not how one joins"):
        invitation.decode_request(data)


def test_what_is_too_long_is_not_read() -> None:
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


def test_a_card_is_written_as_the_speaker_takes_it(ready: Earmark, card: Path) -> None:
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


def test_without_a_keeper_it_holds_the_line_alone(ready: Earmark, card: Path) -> None:
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
def test_what_makes_no_card_invites_nobody(
    more: tuple[str, ...], why: str, ready: Earmark, home: Path
) -> None:
    ready("owner", "add", "ada", "--key", KEY)
    before = (home / "household" / "register.json").read_bytes()

    code, _, err = ready("household", "add-device", "hall", "--no-wait", *more)

    assert code == 2
    assert why in err
    assert (home / "household" / "register.json").read_bytes() == before


def test_a_card_that_cannot_be_written_is_said(ready: Earmark, card: Path) -> None:
    (card / "earmark.toml").symlink_to("/nowhere/at/all")

    code, _, err = ready("household", "add-device", "hall", "--no-wait", "--card", str(card))

    assert code == 69
    assert "cannot write" in err
