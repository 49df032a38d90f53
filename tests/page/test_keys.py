"""How the page takes, keeps and makes an owner's key."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyrage
import pytest
import segno
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.envelope.seal import encrypt_to
from listener.mqtt.owner_statement import state_owner
from listener.owner.bundle import (
    ArchiveContact,
    OwnerBundle,
    PlaceChallenge,
    encode,
    parse_answer_file,
)
from listener.owner.possession import PossessionChallenge
from listener.owner.records import Owner
from listener.owner.roster import ARCHIVE
from listener.voice.consent import Consent, verify_consent
from tests.page.conftest import write_card
from tests.page.secrets_search import STORED, assert_no_key_stored, assert_nothing_left

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.page.browser import Browser
    from tests.page.conftest import Clips, Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PASSPHRASE = "four plain words here"  # noqa: S105 - of keys made in these tests


def warned(browser: "Browser", part: str) -> None:
    browser.wait(f"document.getElementById('alert').textContent.includes({json.dumps(part)})")


def forget(browser: "Browser") -> None:
    browser.click("[data-view=trust]")
    browser.click("[data-do=forget]")
    browser.wait_for("[data-field=file]")


def test_key_is_taken_in_every_form_and_kept_only_if_chosen(  # noqa: PLR0915 - one browser for all
    clips: "Clips", scene_of: Callable[..., "Scene"], household: "Household", tmp_path: Path
) -> None:
    clip = clips.put()
    clips.close()
    card = write_card(household, tmp_path / "card")
    # What the camera shows: the card's QR code, as a sheet has it.
    video = tmp_path / "camera.y4m"
    write_video(card.read_text(), video)
    scene = scene_of(
        "chromium",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    )
    browser = scene.browser
    browser.open(scene.next_address())
    secret = scene.secret

    # Not a key; the key of another owner; a public key.
    for text, why in (
        ("hello", "is not a secret key of age"),
        (scene.household.recipient("ada"), "This is a public key"),
        ("# speaker hall nonsense\n" + secret, "is malformed"),
        (scene.household.identities["bob"], "does not open the archive's challenge"),
    ):
        browser.evaluate("document.querySelector('[data-field=text]').value = ''")
        browser.type("[data-field=text]", text.replace("\n", "\r"))
        browser.click("[data-do=paste]")
        warned(browser, why)
    assert browser.count(".list") == 0

    # Pasted.
    browser.type("[data-field=text]", secret)
    browser.click("[data-do=paste]")
    browser.wait_for(".list")
    assert_no_key_stored(browser, secret)
    # Without a card the page has no key of a speaker, and says so.
    browser.click(f"[data-clip='{clip.clip}']")
    browser.wait_for("[data-refused]")
    assert "does not have the key of the speaker hall" in browser.text("[data-refused]")
    browser.click("[data-view=trust]")
    hall = next(line for line in card.read_text().splitlines() if line.startswith("# speaker"))
    browser.type("[data-field=speaker-key]", hall.removeprefix("# speaker "))
    browser.click("[data-do=add-speaker]")
    browser.wait_for("[data-speaker=hall]")
    forget(browser)

    # Encrypted with a passphrase, as `age -p` does; first a wrong one.
    locked = tmp_path / "ada.key.age"
    locked.write_bytes(pyrage.passphrase.encrypt(card.read_bytes(), PASSPHRASE))
    browser.upload("[data-field=file]", locked)
    browser.type("[data-field=passphrase]", "wrong")
    browser.click("[data-do=unlock]")
    warned(browser, "does not open the file")
    browser.type("[data-field=passphrase]", PASSPHRASE)
    browser.click("[data-do=unlock]")
    browser.wait_for(".list")
    forget(browser)

    # A picture of its QR code; a picture without one.
    empty, code = tmp_path / "empty.png", tmp_path / "code.png"
    segno.make("x", micro=False).save(str(empty), dark="white", scale=4)
    segno.make(card.read_text(), micro=False).save(str(code), scale=6, border=4)
    browser.upload("[data-field=picture]", empty)
    warned(browser, "no QR code")
    browser.upload("[data-field=picture]", code)
    browser.wait_for(".list")
    assert any("qr-reader" in one["url"] for one in browser.requests())
    forget(browser)

    # The camera.
    browser.click("[data-do=camera]")
    browser.wait_for(".list")
    forget(browser)
    assert_no_key_stored(browser, secret)

    # Kept in this browser: after a new visit it is there, and cannot be exported.
    browser.click("[data-keep=browser]")
    browser.upload("[data-field=file]", card)
    browser.wait_for(".list")
    browser.new_tab()
    browser.open(scene.next_address())
    browser.wait_for(f"[data-clip='{clip.clip}']")
    browser.click(f"[data-clip='{clip.clip}']")
    browser.wait_for("audio[data-played]")
    stored = browser.evaluate(STORED)
    assert "CryptoKey X25519 extractable=false" in stored
    assert secret not in stored
    forget(browser)
    assert "CryptoKey" not in browser.evaluate(STORED)

    # Locked with a passkey.
    browser.send("WebAuthn.enable")
    browser.send(
        "WebAuthn.addVirtualAuthenticator",
        options={
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "hasPrf": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        },
    )
    browser.click("[data-keep=passkey]")
    browser.upload("[data-field=file]", card)
    browser.wait_for(".list")
    assert_no_key_stored(browser, secret)
    browser.reload()
    browser.click("[data-do=passkey]")
    browser.wait_for(f"[data-clip='{clip.clip}']")
    browser.click(f"[data-clip='{clip.clip}']")
    browser.wait_for("audio[data-played]")

    # The token of an address counts once.
    assert_nothing_left(scene, [clip])
    used = scene.next_address()
    browser.new_tab()
    browser.open(used)
    browser.new_tab()
    browser.open(used)
    warned(browser, "earmark clips browse")


def write_video(text: str, path: Path) -> None:
    """Write frames of a QR code for Chromium's fake camera: YUV4MPEG2, grey."""
    code = np.array([list(row) for row in segno.make(text, micro=False).matrix], np.uint8)
    square = np.kron(1 - code, np.ones((5, 5), np.uint8)) * 255
    frame = np.full((640, 640), 255, np.uint8)
    at = (640 - len(square)) // 2
    frame[at : at + len(square), at : at + len(square)] = square
    grey = np.full(2 * 320 * 320, 128, np.uint8)
    data = b"FRAME\n" + frame.tobytes() + grey.tobytes()
    path.write_bytes(b"YUV4MPEG2 W640 H640 F5:1 Ip A1:1 C420jpeg\n" + data * 5)


def test_page_makes_a_key_that_stock_tools_and_the_household_accept(
    clips: "Clips", scene_of: Callable[..., "Scene"], tmp_path: Path
) -> None:
    clips.close()
    scene = scene_of()
    browser = scene.browser
    browser.open(scene.next_address())

    browser.click("[data-part='key.make'] summary")
    browser.type("[data-field=new-passphrase]", PASSPHRASE)
    browser.type("[data-field=new-passphrase-again]", PASSPHRASE + "x")
    browser.click("[data-do=make]")
    warned(browser, "differ")
    for name in ("new-passphrase", "new-passphrase-again"):
        browser.evaluate(f"document.querySelector('[data-field={name}]').value = ''")
        browser.type(f"[data-field={name}]", PASSPHRASE)
    browser.click("[data-do=make]")
    browser.wait_for("[data-made]")
    recipient = browser.evaluate("document.querySelector('[data-made]').dataset.made")
    made = scene.downloaded("ada.key.age")
    card = pyrage.passphrase.decrypt(made.read_bytes(), PASSPHRASE).decode()
    secret = card.strip().splitlines()[-1]
    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) == recipient
    assert secret.encode() not in scene.sent
    assert browser.count("svg.code") == 1
    assert_no_key_stored(browser, secret)

    # The household makes a bundle for this key; the page answers it, with the encrypted file.
    owner = Owner(name="ada", recipient=recipient)
    places = {"hall": scene.household.device_key, ARCHIVE: scene.household.home.archive_key()}
    now_s = int(time.time())
    bundle = OwnerBundle(
        owner="ada",
        recipient=recipient,
        archive=ArchiveContact(key=text_of(places[ARCHIVE]), ca="-"),
        challenges=tuple(
            PlaceChallenge(
                place=place,
                key=text_of(key),
                statement=state_owner(owner, place, key, now_s).decode("ascii"),
            )
            for place, key in places.items()
        ),
    )
    (tmp_path / "ada.bundle").write_bytes(encode(bundle))
    browser.click("[data-part='key.answer'] summary")
    browser.upload("[data-field=bundle]", tmp_path / "ada.bundle")
    browser.upload("[data-field=bundle-key]", made)
    browser.type("[data-field=bundle-passphrase]", PASSPHRASE)
    browser.click("[data-do=answer]")
    browser.wait_for("[data-answered='2']")
    answers = parse_answer_file(scene.downloaded("ada.answers").read_bytes())
    for one in answers.answers:
        challenge = PossessionChallenge(owner, one.place, places[one.place])
        assert challenge.is_answer(one.answer, now_s)
    assert f"# speaker hall {text_of(places['hall'])}" in browser.text()

    # A bundle whose challenge is a request to the archive is not answered.
    stolen = bundle.challenges[0]
    fields = json.loads(stolen.statement)
    fields["owner"]["challenge"] = encrypt_to(
        recipient, b"ada:erase:0123456789abcdef:" + b"a" * 26 + b"\n", armored=True
    ).decode()
    signed = json.dumps(fields["owner"], sort_keys=True, separators=(",", ":")).encode()
    fields["signature"] = base64.b64encode(places["hall"].sign(signed)).decode()
    hostile = msgspec.structs.replace(
        bundle, challenges=(msgspec.structs.replace(stolen, statement=json.dumps(fields)),)
    )
    (tmp_path / "hostile.bundle").write_bytes(encode(hostile))
    browser.upload("[data-field=bundle]", tmp_path / "hostile.bundle")
    browser.type("[data-field=bundle-passphrase]", PASSPHRASE)
    browser.click("[data-do=answer]")
    warned(browser, "for something else than your key")
    assert_no_key_stored(browser, secret)
    assert secret.encode() not in scene.sent


def text_of(key: Ed25519PrivateKey) -> str:
    return keys.device_text(key.public_key())


def test_consent_to_voice_control_is_proven_to_the_speaker(
    clips: "Clips", scene_of: Callable[..., "Scene"], household: "Household"
) -> None:
    clips.close()
    scene = scene_of()
    browser = scene.enter()
    assist = text_of(Ed25519PrivateKey.generate())
    owner = Owner(name="ada", recipient=household.recipient("ada"), active=True)

    def given() -> Consent:
        (fields,) = scene.archive.proven[-1]["consents"]
        return Consent(okey=owner.okey, owner="ada", **fields)

    browser.click("[data-view=voice]")
    browser.wait_for("[data-speaker=hall][data-state=none]")
    browser.click("[data-do=voice-on]")
    warned(browser, "Enter the key of the assist service")
    browser.type("[data-field=assist]", assist)
    browser.click("[data-do=voice-on]")
    browser.click("[data-do=agree]")
    browser.wait_for("[data-speaker=hall][data-state=unconfirmed]")
    first = given()
    verify_consent(first, owner, "hall", household.device_key)
    assert (first.on, first.assist) == (1, assist)
    # The record of this computer has it, as after `earmark clips voice`.
    recorded = json.loads((scene.folder / "owners-home" / "clips" / "voice.json").read_text())
    assert recorded["owners"]["ada"]["hall"]["n"] == first.n

    browser.click("[data-do=voice-off]")
    browser.wait(
        "document.querySelector('[data-speaker=hall] p').textContent.includes('switched it off')"
    )
    second = given()
    verify_consent(second, owner, "hall", household.device_key, last_n=first.n)
    assert second.on == 0
