"""The golden messages, each with the outcome that its index declares."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pyrage
import pytest

from listener.envelope import keys
from listener.errors import VoiceError
from listener.owner.records import Owner
from listener.voice import command_copy, consent, messages, reply
from listener.voice.open_copy import open_copy
from listener.voice.open_reply import open_reply

VECTORS: Final = Path(__file__).resolve().parents[1] / "vectors"
VOICE: Final = VECTORS / "voice"
INDEX: Final[dict[str, Any]] = json.loads((VOICE / "index.json").read_text("ascii"))
MESSAGES: Final[list[dict[str, Any]]] = INDEX["messages"]
PARSERS: Final[dict[str, Any]] = {
    "ask": messages.parse_ask,
    "confirmation": messages.parse_confirmation,
    "answer": messages.parse_answer,
    "outcome": messages.parse_outcome,
    "voice-status": messages.parse_voice_status,
}
DEVICE: Final = keys.parse_device(INDEX["device_key"])
ASSIST: Final = keys.parse_device(INDEX["assist"])


def age_key(name: str) -> pyrage.x25519.Identity:
    text = (VOICE / name).read_text("ascii").splitlines()[1]
    return pyrage.x25519.Identity.from_str(text)


def read(kind: str, data: bytes) -> None:
    """Do all that the reader of this kind does."""
    if kind == "consents":
        secret = keys.parse_device_pem((VECTORS / "kitchen.pem").read_bytes(), "a test key")
        owner = Owner(name=INDEX["owner"], recipient=INDEX["recipient"], active=True)
        for one in consent.parse_consents(data):
            consent.verify_consent(one, owner, INDEX["device"], secret, INDEX["last_n"])
    elif kind == "command-copy":
        copy = command_copy.parse_copy(data)
        opened = open_copy(copy, DEVICE, age_key("command.key"), keys.device_id(ASSIST))
        assert len(opened.samples) == 4_000
    elif kind == "reply":
        sealed = reply.parse_reply(data)
        assert len(open_reply(sealed, ASSIST, age_key("reply.key")).samples) == 4_000
    else:
        key = DEVICE if kind in {"ask", "confirmation", "voice-status"} else ASSIST
        PARSERS[kind](data).verify(key)


@pytest.mark.parametrize("vector", MESSAGES, ids=lambda one: one["file"])
def test_vectors_are_read_with_the_declared_outcome(vector: Mapping[str, Any]) -> None:
    try:
        read(vector["kind"], (VOICE / vector["file"]).read_bytes())
    except VoiceError as error:
        outcome: str = error.reason
    else:
        outcome = "ok"

    assert outcome == vector["outcome"], vector["reason"]


def test_every_voice_vector_file_is_in_the_index() -> None:
    files = {path.name for path in VOICE.iterdir()}

    assert files == {vector["file"] for vector in MESSAGES} | {
        "index.json",
        "assist.pem",
        "command.key",
        "reply.key",
    }


@pytest.mark.system
def test_script_reproduces_the_voice_index(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(VECTORS / "make_voice.py"), str(tmp_path)], check=True)

    assert json.loads((tmp_path / "index.json").read_text("ascii")) == INDEX
