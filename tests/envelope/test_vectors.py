"""The golden envelopes, each with the outcome its index declares."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.envelope import keys
from listener.envelope.open import open_envelope, parse_identities
from listener.envelope.verify import verify
from listener.errors import BadEnvelope, NotForYou

VECTORS: Final = Path(__file__).resolve().parents[1] / "vectors"
INDEX: Final[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text("ascii"))
ENVELOPES: Final[list[dict[str, Any]]] = INDEX["envelopes"]


def name(vector: Mapping[str, Any]) -> str:
    return Path(vector["file"]).stem


@pytest.fixture
def known_devices() -> dict[str, Ed25519PublicKey]:
    return {name: keys.parse_device(text) for name, text in INDEX["devices"].items()}


@pytest.mark.parametrize("vector", ENVELOPES, ids=name)
def test_vectors_open_with_the_declared_outcome(
    vector: Mapping[str, Any], known_devices: dict[str, Ed25519PublicKey]
) -> None:
    data = (VECTORS / vector["file"]).read_bytes()
    identities = parse_identities((VECTORS / vector["identity"]).read_bytes(), "a test key")

    try:
        opened = open_envelope(data, identities, known_devices, INDEX["owners"])
    except BadEnvelope:
        outcome = "bad-envelope"
    except NotForYou:
        outcome = "not-for-you"
    else:
        outcome = "ok"
        assert opened.flac.startswith(b"fLaC")

    assert outcome == vector["outcome"], vector["reason"]


@pytest.mark.parametrize("vector", ENVELOPES, ids=name)
def test_vectors_verify_with_the_declared_outcome(
    vector: Mapping[str, Any], known_devices: dict[str, Ed25519PublicKey]
) -> None:
    data = (VECTORS / vector["file"]).read_bytes()

    try:
        verify(data, known_devices, INDEX["owners"])
    except BadEnvelope:
        accepted = False
    else:
        accepted = True

    assert accepted == vector["archive"], vector["reason"]


def test_every_vector_file_is_in_the_index() -> None:
    files = {f"envelopes/{path.name}" for path in (VECTORS / "envelopes").iterdir()}

    assert files == {vector["file"] for vector in ENVELOPES}


@pytest.mark.system
def test_script_reproduces_the_vector_index(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(VECTORS / "make.py"), str(tmp_path)], check=True)

    assert json.loads((tmp_path / "index.json").read_text("ascii")) == INDEX
