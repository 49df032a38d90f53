"""Two owners, two devices, and a sealed clip of a quarter of a second."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.audio.clip import encode_clip
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.open import Identity, OpenedClip, open_envelope, parse_identities
from listener.envelope.seal import seal


def made_identity() -> Identity:
    text = f"# a comment\n{pyrage.x25519.Identity.generate()}\n"
    return parse_identities(text.encode(), "a test key")[0]


@pytest.fixture(scope="session")
def ada() -> Identity:
    return made_identity()


@pytest.fixture(scope="session")
def bob() -> Identity:
    return made_identity()


@pytest.fixture(scope="session")
def kitchen() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def hall() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def owners(ada: Identity, bob: Identity) -> dict[str, str]:
    return {"ada": ada.recipient, "bob": bob.recipient}


@pytest.fixture(scope="session")
def devices(kitchen: Ed25519PrivateKey, hall: Ed25519PrivateKey) -> dict[str, Ed25519PublicKey]:
    return {"kitchen": kitchen.public_key(), "hall": hall.public_key()}


@pytest.fixture(scope="session")
def header(ada: Identity, kitchen: Ed25519PrivateKey) -> form.PublicHeader:
    return form.PublicHeader(
        clip="7b0c38cc-8b6c-4f43-9d3a-0d5a4ad4e1f1",
        device="kitchen",
        dkey=keys.device_id(kitchen.public_key()),
        owner="ada",
        okey=ada.okey,
        seq=7,
        t="2026-11-22T08:00:00.123Z",
        ttl_s=2_592_000,
    )


@pytest.fixture(scope="session")
def private() -> form.PrivateFields:
    return form.PrivateFields(
        word="alexa",
        model="0123456789abcdef" * 4,
        score=0.93,
        spk=None,
        pre_ms=100,
        ms=250,
        rate=16_000,
        end_reason="silence",
        boot="0123456789abcdef",
    )


@pytest.fixture(scope="session")
def encode() -> Callable[[str], bytes]:
    time = np.arange(4_000) / 16_000
    samples = (3_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)
    return lambda comment: encode_clip(samples, comment)


@pytest.fixture(scope="session")
def sealing(
    header: form.PublicHeader,
    private: form.PrivateFields,
    encode: Callable[[str], bytes],
    ada: Identity,
    kitchen: Ed25519PrivateKey,
) -> Callable[..., bytes]:
    """Seal the usual clip, but for the arguments of ``seal`` that are given."""
    usual: dict[str, Any] = {
        "header": header,
        "private": private,
        "encode": encode,
        "recipient": ada.recipient,
        "device_key": kitchen,
    }
    return lambda **other: seal(**(usual | other))


@pytest.fixture(scope="session")
def sealed(sealing: Callable[..., bytes]) -> bytes:
    return sealing()


@pytest.fixture(scope="session")
def opening(
    ada: Identity, devices: dict[str, Ed25519PublicKey], owners: dict[str, str]
) -> Callable[..., OpenedClip]:
    """Open an envelope as ada, or as the identities that are given."""
    return lambda data, *identities: open_envelope(data, identities or [ada], devices, owners)
