"""How the page takes, keeps and makes an owner's key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage
import pytest
import segno

from tests.page.conftest import write_card
from tests.page.secrets_search import STORED, assert_no_key_stored, assert_nothing_left
from tests.system.conftest import wait_until

if TYPE_CHECKING:
    from tests.page.browser import Browser
    from tests.page.conftest import Clips, Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PASSPHRASE = "four plain words here"


def warned(browser: "Browser", part: str) -> None:
    browser.wait(f"document.getElementById('alert').textContent.includes({json.dumps(part)})")


def forget(browser: "Browser") -> None:
    browser.click("[data-view=trust]")
    browser.click("[data-do=forget]")
    browser.wait_for("[data-field=file]")


def test_key_is_taken_in_every_form_and_kept_only_if_chosen(
    clips: "Clips", scene_of: Callable[..., "Scene"], tmp_path: Path
) -> None:
    clip = clips.put()
    clips.close()
    card = write_card(clips._household, tmp_path / "card")
    # What the camera shows: the card's QR code, as a sheet has it.
    video = tmp_path / "camera.mjpeg"
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
    segno.make("x", micro=False).save(empty, dark="white", scale=4)
    segno.make(card.read_text(), micro=False).save(code, scale=6, border=4)
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
    browser.evaluate("location.reload()")
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
    """Write frames of a QR code for Chromium's fake camera."""
    import io

    from PIL import Image

    png = io.BytesIO()
    segno.make(text, micro=False).save(png, kind="png", scale=5, border=6)
    frame = Image.new("RGB", (640, 640), "white")
    drawn = Image.open(png).convert("RGB")
    frame.paste(drawn, ((640 - drawn.width) // 2, (640 - drawn.height) // 2))
    jpeg = io.BytesIO()
    frame.save(jpeg, "JPEG", quality=95)
    path.write_bytes(jpeg.getvalue() * 10)


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
    wait_until(lambda: list(scene.browser.downloads.glob("ada.key.age")), "the key's file")
    card = pyrage.passphrase.decrypt(
        (scene.browser.downloads / "ada.key.age").read_bytes(), PASSPHRASE
    ).decode()
    secret = card.strip().splitlines()[-1]
    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) == recipient
    assert secret.encode() not in scene.sent
    assert browser.count("svg.code") == 1
    assert_no_key_stored(browser, secret)

    # The household adds the owner with this key; the page answers its bundle.
    added = scene.earmark.run("household", "add-owner", "cleo", recipient)
    assert added.returncode == 0, added.stderr
