"""Voices of the enrolled owners: all of them, or none while one is refused."""

from pathlib import Path

import numpy as np
import pyrage
import pytest

from listener.envelope import keys
from listener.hear.voiceprint.enrolled_voices import EnrolledVoices
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.record import Voiceprint, encode_vector
from tests.conftest import introduced

MODEL = "5a" * 32


class EnrolledSpeaker:
    """A speaker with enrolled owners."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.key = self.home.device_key()
        self.store = VoiceprintStore(path)
        self.folder = path / "voiceprints"
        self.voices = EnrolledVoices(self.store, self.key.public_key(), MODEL, 0.5)

    def enrol(self, name: str, threshold: float = 0.5, model: str = MODEL) -> None:
        recipient = str(pyrage.x25519.Identity.generate().to_public())
        self.home.change_roster(lambda roster: introduced(roster, name, recipient, 0))
        made = Voiceprint(
            owner=name,
            okey=self.home.roster().known_owner(name).okey,
            device=keys.device_text(self.key.public_key()),
            model=model,
            vector=encode_vector(np.eye(1, 192, len(name), dtype=np.float32)[0]),
            threshold=threshold,
            sentences=10,
            speech_s=30.0,
            t="2026-01-02T03:04:05.678Z",
        )
        self.store.write(made, self.key)

    def names(self) -> list[str]:
        return sorted(self.voices(self.home.roster()))


@pytest.fixture
def speaker(home: Path) -> EnrolledSpeaker:
    return EnrolledSpeaker(home)


def test_higher_of_both_thresholds_applies(speaker: EnrolledSpeaker) -> None:
    speaker.enrol("ada", threshold=0.4)
    speaker.enrol("bob", threshold=0.6)

    voices = speaker.voices(speaker.home.roster())

    assert {name: voice.threshold for name, voice in voices.items()} == {"ada": 0.5, "bob": 0.6}
    assert voices["ada"].centroid[3] == 1


def test_without_voiceprints_there_is_no_voice(speaker: EnrolledSpeaker) -> None:
    assert speaker.names() == []


def test_enrolment_and_erasure_count_from_the_next_clip_on(speaker: EnrolledSpeaker) -> None:
    speaker.enrol("ada")
    assert speaker.names() == ["ada"]
    speaker.enrol("bob")
    assert speaker.names() == ["ada", "bob"]
    speaker.store.erase("ada")
    assert speaker.names() == ["bob"]


def test_no_voice_counts_while_one_is_refused_and_each_refusal_is_logged_once(
    speaker: EnrolledSpeaker, caplog: pytest.LogCaptureFixture
) -> None:
    speaker.enrol("ada")
    speaker.enrol("bob", model="00" * 32)

    assert speaker.names() == speaker.names() == []
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the voiceprint of bob is refused: it was made with")
    speaker.store.erase("bob")
    assert speaker.names() == ["ada"]
    assert len(caplog.messages) == 1


def test_voiceprint_of_a_removed_owner_does_not_count_and_stops_no_other(
    speaker: EnrolledSpeaker, caplog: pytest.LogCaptureFixture
) -> None:
    speaker.enrol("ada")
    speaker.enrol("bob")
    speaker.home.change_roster(lambda roster: roster.without_owner("bob"))

    assert speaker.names() == ["ada"]
    assert len(caplog.messages) == 1
