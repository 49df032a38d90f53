"""Check of the voiceprints: it names whose cannot be used."""

from pathlib import Path

import numpy as np
import pyrage
import pytest

from listener.config import AttributionSettings, Config
from listener.doctor.voiceprint_files import check_voiceprints
from listener.envelope import keys
from listener.inference.catalogue import Catalogue
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore
from listener.system.findings import Finding
from listener.voiceprint.record import Voiceprint, encode_vector
from tests.conftest import introduced


def enrol(path: Path, name: str) -> None:
    home = Home(path)
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    home.change_roster(lambda roster: introduced(roster, name, recipient, 0))
    made = Voiceprint(
        owner=name,
        okey=home.roster().known_owner(name).okey,
        device=keys.device_text(home.device_key().public_key()),
        model=Catalogue(path).manifest("speaker-embedding").sha256,
        vector=encode_vector(np.eye(1, 192, dtype=np.float32)[0]),
        threshold=0.5,
        sentences=10,
        speech_s=30.0,
        t="2026-01-02T03:04:05.678Z",
    )
    VoiceprintStore(path).write(made, home.device_key())


def check(path: Path, mode: str = "voice") -> Finding | None:
    settings = AttributionSettings(mode=mode, keeper="ada")  # type: ignore[arg-type]  # a text of a parametrised test
    return check_voiceprints(Config(home=str(path), attribution=settings))


def test_keeper_needs_no_voiceprint(home: Path) -> None:
    assert check(home, "keeper") is None


def test_without_an_enrolled_owner_no_clip_is_made(home: Path) -> None:
    found = check(home)

    assert found is not None
    assert found.verdict == "fail"
    assert "earmark owner enrol" in found.hint
    assert list(home.iterdir()) == [], "nothing is created"


def test_enrolled_owners_are_named(home: Path) -> None:
    enrol(home, "ada")
    enrol(home, "bob")

    found = check(home)

    assert found is not None
    assert (found.verdict, found.text) == ("ok", "2 owners enrolled: ada, bob")


def test_refused_voiceprint_is_named(home: Path) -> None:
    enrol(home, "ada")
    enrol(home, "bob")
    path = home / "voiceprints" / "bob.json"
    path.write_bytes(path.read_bytes()[:-10])

    found = check(home)

    assert found is not None
    assert found.verdict == "fail"
    assert found.text.startswith("the voiceprint of bob is refused")


@pytest.mark.parametrize(("mode", "verdict"), [("voice", "ok"), ("keeper-voice", "fail")])
def test_keeper_must_be_enrolled_where_only_their_voice_counts(
    home: Path, mode: str, verdict: str
) -> None:
    enrol(home, "bob")

    found = check(home, mode)

    assert found is not None
    assert found.verdict == verdict
