"""An owner at the browser page, served by ``earmark clips browse``, before the real archive."""

import base64
import json
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.clips.exports import ExportReader
from listener.envelope import keys
from tests.page.secrets_search import assert_no_key_stored, assert_nothing_left, forms_of_sound

if TYPE_CHECKING:
    from tests.page.browser import Browser
    from tests.page.conftest import Clips, MadeClip, Scene
    from tests.page.relay import Answer

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def choose(browser: "Browser", clip: "MadeClip") -> None:
    browser.click(f"[data-clip='{clip.clip}']")


def play(browser: "Browser", clip: "MadeClip") -> None:
    choose(browser, clip)
    browser.wait_for("audio[data-played]")
    played, duration = browser.evaluate(
        "(({dataset, duration}) => [Number(dataset.played), duration])"
        "(document.querySelector('audio'))"
    )
    assert played == pytest.approx(duration)
    assert duration == pytest.approx(1.5, abs=0.01)


def why(browser: "Browser", name: str) -> str:
    """Return what the page says about the chosen clip under a name."""
    rows: dict[str, str] = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.panel dt')].map("
        "(name) => [name.textContent, name.nextElementSibling.textContent]))"
    )
    return rows[name]


def refusal(browser: "Browser", clip: "MadeClip") -> str:
    """Choose a clip that does not open; return what the page says."""
    choose(browser, clip)
    browser.wait_for("[data-refused]")
    assert browser.count("audio") == 0
    return browser.text("[data-refused]")


def test_owner_lists_plays_exports_and_erases(  # noqa: PLR0915 - one visit, step by step
    clips: "Clips", scene_of: Callable[..., "Scene"]
) -> None:
    first, second = clips.put(), clips.put(sound="alexa.flac", word="hey-jarvis", score=0.4999)
    clips.put("bob")
    clips.close()
    scene = scene_of()
    browser = scene.enter()

    assert browser.count("[data-clip]") == 2
    play(browser, first)
    assert why(browser, "Score") == "0.93"
    assert why(browser, "Threshold") == (
        "The clip does not say which one applied. The preset of this model is 0.50."
    )
    play(browser, second)
    # Below the preset: another threshold applied, and no number is shown for it.
    assert why(browser, "Threshold") == "The clip does not say which one applied."
    assert browser.evaluate("document.querySelectorAll('audio').length") == 1

    browser.type("[data-field=word]", "jarvis")
    browser.press("Enter")
    browser.wait("document.querySelector('[data-count]').textContent.startsWith('1 clip with')")
    assert browser.count(f"[data-clip='{second.clip}']") == 1

    browser.click("[data-view=log]")
    browser.wait_for("[data-verified]")
    assert browser.count("[data-op=play]") == 2
    assert "You, or who has your key: fetched a clip." in browser.text(".log")

    browser.click("[data-view=storage]")
    browser.wait("document.querySelector('[data-retention]').textContent !== ''")
    browser.click("[data-do=export]")
    browser.wait_for("[data-exported='2']")
    saved = scene.downloaded(
        browser.evaluate("document.querySelector('[data-exported]').dataset.file")
    )
    with ExportReader(saved, scene.household.home.archive_key().public_key()) as export:
        assert export.receipt.count == 2
    with zipfile.ZipFile(saved) as stored:
        everything = b"".join(stored.read(name) for name in stored.namelist())
    assert all(piece not in everything for piece in forms_of_sound(first))
    browser.type("[data-field=days]", "7")
    browser.click("[data-do=retention]")
    browser.click("[data-do=agree]")
    browser.wait("document.querySelector('[data-retention]').textContent.includes('7 days')")

    browser.click("[data-view=clips]")
    choose(browser, first)
    browser.click("[data-do=erase]")
    browser.click("[data-do=refuse]")
    browser.wait("document.querySelector('dialog') === null")
    assert browser.count(f"[data-clip='{first.clip}']") == 1
    browser.click("[data-do=erase]")
    browser.click("[data-do=agree]")
    browser.wait_for("[data-erased='1']")
    assert browser.count(f"[data-clip='{first.clip}']") == 0
    receipts = list((scene.folder / "owners-home" / "clips" / "receipts").glob("*.json"))
    (receipt,) = [json.loads(path.read_bytes())["receipt"] for path in receipts]
    assert receipt["clips"] == [first.clip]

    choose(browser, second)
    browser.click("[data-do=not-mine]")
    browser.click("[data-do=agree]")
    # The message of the first erasure is still there until then.
    browser.wait("document.querySelectorAll('[data-clip]').length === 0")
    browser.wait_for("[data-erased='1']")
    assert scene.archive.proven[-1] == {"op": "erase", "clips": [second.clip], "not_mine": True}

    assert_nothing_left(scene, [first, second])
    assert_no_key_stored(browser, scene.secret)
    origins = {urlsplit(one["url"])[:2] for one in browser.requests() if one["url"][:4] == "http"}
    assert origins == {tuple(urlsplit(scene.address)[:2])}
    assert not any("qr-reader" in one["url"] for one in browser.requests())
    assert browser.errors() == []


def test_every_false_clip_and_answer_is_refused(  # noqa: PLR0915 - one browser for all
    clips: "Clips", scene_of: Callable[..., "Scene"]
) -> None:
    good, changed, header, stranger, forged, inner, away = (clips.put() for _ in range(7))
    bobs = clips.seal("bob")
    other_key = Ed25519PrivateKey.generate()
    resigned = clips.seal(key=other_key)
    relabelled = clips.seal(
        inner=lambda comment: comment.replace(b'"owner":"ada"', b'"owner":"bob"')
    )
    clips.close()
    scene = scene_of()
    served = {
        changed.clip: flipped(changed.data, -9),
        header.clip: changed_header(header.data),
        stranger.clip: bobs.data,
        forged.clip: resigned.data,
        inner.clip: relabelled.data,
    }

    def tamper(request: dict[str, Any], answer: "Answer") -> "Answer":
        if request["op"] == "play" and request["clip"] in served:
            return (answer[0], answer[1], served[request["clip"]])
        if request["op"] == "keys":
            fields = json.loads(answer[2])
            fields["devices"]["hall"] = keys.device_text(other_key.public_key())
            return (answer[0], answer[1], json.dumps(fields).encode())
        return answer

    scene.archive.changes.append(tamper)
    browser = scene.enter()

    assert "the sound was changed" in refusal(browser, changed)
    assert "signature of the speaker is not valid" in refusal(browser, header)
    assert "a clip of bob" in refusal(browser, stranger)
    assert "another key of hall than the one on your key card" in refusal(browser, forged)
    assert "label inside differs" in refusal(browser, inner)
    play(browser, good)

    browser.click("[data-view=trust]")
    browser.click("[data-do=compare]")
    browser.wait_for("[data-difference]")
    assert "another key for hall than your key card" in browser.text("[data-difference]")
    browser.click("[data-view=clips]")
    assert "another key of hall" in refusal(browser, forged)

    # A ticket that expired: the page asks for another one, once.
    expired: list[str] = []

    def expire(fields: dict[str, Any]) -> dict[str, Any]:
        if not expired:
            expired.append(fields["ticket"])
            return fields | {"ticket": fields["ticket"][:-4] + "AAAA"}
        return fields

    scene.archive.ticket_changes.append(expire)
    play(browser, away)
    assert expired
    scene.archive.ticket_changes.clear()

    # A clip in place of a challenge is not answered.
    proven = len(scene.archive.proven)
    scene.archive.ticket_changes.append(lambda fields: fields | {"challenge": armored(good.data)})
    browser.click("[data-do=reload]")
    browser.wait("!document.getElementById('alert').hidden")
    assert "Nothing was sent in answer" in browser.text("#alert")
    assert len(scene.archive.proven) == proven
    scene.archive.ticket_changes.clear()

    # Away: what was fetched plays on; the rest says so.
    scene.archive.is_down = True
    play(browser, good)
    browser.click("[data-do=reload]")
    browser.wait("document.getElementById('alert').textContent.includes('does not answer')")
    play(browser, away)
    scene.archive.is_down = False
    browser.click("[data-do=reload]")
    browser.wait("document.getElementById('alert').hidden")

    # A receipt by another key, and a log with a changed row.
    def forge(request: dict[str, Any], answer: "Answer") -> "Answer":
        fields = json.loads(answer[2]) if answer[1] == "application/json" else {}
        if request["op"] == "erase":
            fields["receipt"]["count"] += 1
        elif request["op"] == "log":
            fields["rows"][0]["body_sha256"] = "0" * 64
            fields["rows"][0].pop("body", None)
        else:
            return answer
        return (answer[0], answer[1], json.dumps(fields).encode())

    scene.archive.changes.append(forge)
    choose(browser, away)
    browser.click("[data-do=erase]")
    browser.click("[data-do=agree]")
    browser.wait("document.getElementById('alert').textContent.includes('not signed')")
    assert browser.count("[data-erased]") == 0
    browser.click("[data-view=log]")
    browser.wait("document.getElementById('alert').textContent.includes('changed at row 1')")
    assert browser.count(".log") == 0
    assert_nothing_left(scene, clips.made)


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def changed_header(data: bytes) -> bytes:
    magic, header, rest = data.split(b"\n", 2)
    fields = json.loads(header)
    fields["seq"] += 1
    line = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return b"\n".join([magic, line, rest])


def armored(data: bytes) -> str:
    """The ciphertext of a clip as an armored age file, as short as a challenge may be."""
    text = base64.b64encode(data.split(b"\n", 4)[4]).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(
        ["-----BEGIN AGE ENCRYPTED FILE-----", *lines, "-----END AGE ENCRYPTED FILE-----\n"]
    )
