"""Searches what left the browser, and what it stores, for the key and for opened sound."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from listener.envelope import keys

if TYPE_CHECKING:
    from tests.page.browser import Browser
    from tests.page.conftest import MadeClip, Scene

_SLICE_BYTES: Final = 24
_SLICES: Final = 40

STORED: Final = Path(__file__).with_name("stored.js").read_text("utf-8").rstrip().rstrip(";")
"""Everything that the page's origin stores, as text."""


def forms_of_key(secret: str) -> Iterator[bytes]:
    """Yield the forms in which a secret key could be sent or stored."""
    raw = keys.age_bytes(secret)
    yield from (secret.encode(), secret.lower().encode(), secret[16:].encode())
    yield from (
        raw,
        raw.hex().encode(),
        base64.b64encode(raw)[:40],
        base64.urlsafe_b64encode(raw)[:40],
    )


def forms_of_sound(clip: "MadeClip") -> Iterator[bytes]:
    """Yield pieces of an opened clip, also in base64 at each of the three offsets."""
    frames = clip.flac[200:]
    for at in range(0, len(frames) - _SLICE_BYTES, max(1, len(frames) // _SLICES)):
        piece = frames[at : at + _SLICE_BYTES]
        yield piece
        for offset in range(3):
            yield base64.b64encode(piece[offset : offset + 21])[4:24]


def assert_nothing_left(scene: "Scene", clips: Iterable["MadeClip"]) -> None:
    """Assert that no request of the browser, and nothing at the archive, has key or sound."""
    sent = scene.sent + b"\0".join(
        f"{one['method']} {one['url']} {one['body']}".encode() for one in scene.browser.requests()
    )
    assert b"/v1/tickets" in sent
    for form in forms_of_key(scene.secret):
        assert form not in sent
    for clip in clips:
        for piece in forms_of_sound(clip):
            assert piece not in sent


def assert_no_key_stored(browser: "Browser", secret: str) -> None:
    """Assert that the page's origin stores no secret key."""
    stored = browser.evaluate(STORED).encode("latin-1", "replace")
    for form in forms_of_key(secret):
        assert form not in stored
    assert b"CryptoKey" not in stored
