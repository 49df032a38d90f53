"""Hidden use of age's grease stanza by a device that was taken over.

The file key fits into the one grease stanza that every age file of rage has, encrypted to a key of
the attacker. What can be checked from outside is the number and size of the stanzas.
"""

import os
from collections.abc import Callable

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from listener.envelope import format as form
from listener.errors import BadEnvelope
from tests.adversary import age_writer
from tests.adversary.age_writer import text

CLIP = b"fLaC" + bytes(500)


def keys() -> tuple[X25519PublicKey, pyrage.x25519.Identity]:
    """Return an owner's public key in the form of each library."""
    identity = pyrage.x25519.Identity.generate()
    return X25519PublicKey.from_public_bytes(bech32_data(str(identity.to_public()))), identity


def bech32_data(recipient: str) -> bytes:
    """Return the bytes of ``age1…``, without its checksum."""
    digits = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(c) for c in recipient[4:-6]]
    bits = "".join(f"{digit:05b}" for digit in digits)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, 256, 8))


def grease(body: bytes, kind: bytes = b"x-grease") -> bytes:
    shown = text(body)
    lines = [shown[at : at + 64] for at in range(0, len(shown) + 1, 64)]
    return b"-> " + kind + b"\n" + b"".join(line + b"\n" for line in lines)


def check(ciphertext: bytes) -> None:
    """Check the recipients as the archive and the opener do."""
    form.check_age(ciphertext)


def test_written_file_is_one_that_age_opens() -> None:
    public, identity = keys()

    file = age_writer.write(CLIP, public, grease(b"r" * 30), os.urandom(16))

    assert pyrage.decrypt(file, [identity]) == CLIP
    check(file)


def test_grease_can_hide_the_key_of_a_clip() -> None:
    """A limit that threats.md states: random bytes cannot be told from a wrapped key."""
    public, identity = keys()
    attacker = X25519PrivateKey.generate()
    file_key = os.urandom(age_writer.FILE_KEY_BYTES)
    share, wrapped = age_writer.wrap(file_key, attacker.public_key())
    file = age_writer.write(CLIP, public, grease(share + wrapped), file_key)

    check(file)
    assert pyrage.decrypt(file, [identity]) == CLIP
    found = age_writer.unwrap(share, wrapped, attacker)
    assert age_writer.read(file, found) == CLIP


@pytest.mark.parametrize(
    "stanzas",
    [
        lambda: grease(b"a" * 30) + grease(b"b" * 30),
        lambda: grease(b"a" * 150),
        lambda: grease(b"a" * 30, b"X25519 " + text(os.urandom(32))),
        lambda: grease(b"a" * 30, b"longer-than-that-grease"),
        lambda: grease(b"a" * 30, b"x-grease 1 2 3 4 5"),
        lambda: grease(b"a" * 30, b"x-grease 1234567890"),
    ],
    ids=["two", "long", "X25519", "long type", "five arguments", "long argument"],
)
def test_any_other_stanza_is_refused(stanzas: Callable[[], bytes]) -> None:
    public, identity = keys()
    file = age_writer.write(CLIP, public, stanzas(), os.urandom(16))

    assert pyrage.decrypt(file, [identity]) == CLIP, "age itself skips it"
    with pytest.raises(BadEnvelope):
        check(file)
