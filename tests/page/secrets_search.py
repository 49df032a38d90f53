"""Searches what left the browser, and what it stores, for the key and for opened sound."""

import base64
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from listener.envelope import keys

if TYPE_CHECKING:
    from tests.page.browser import Browser
    from tests.page.conftest import MadeClip, Scene

_SLICE_BYTES: Final = 24
_SLICES: Final = 40

STORED: Final = """(async () => {
  const found = [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie];
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((resolve, reject) => {
      const request = indexedDB.open(name);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    for (const store of database.objectStoreNames) {
      const values = await new Promise((resolve, reject) => {
        const request = database.transaction(store).objectStore(store).getAll();
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
      for (const value of values) {
        found.push(JSON.stringify(value, (name, one) => one instanceof CryptoKey
          ? `CryptoKey ${one.algorithm.name} extractable=${one.extractable}`
          : one instanceof Uint8Array ? Array.from(one, (byte) => String.fromCharCode(byte)).join("") : one));
      }
    }
    database.close();
  }
  for (const name of await caches.keys()) found.push(`cache ${name}`);
  return found.join("\\n");
})()"""
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
