"""A speaker with enrolled owners, for tests and measurements of attribution by voice."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyrage
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.envelope import keys
from listener.envelope.open import OpenedClip, open_envelope, parse_identities
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SPEECH_STEP_SAMPLES, SpeechNet
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.storage.home import Home
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.record import Voiceprint, encode_vector
from listener.voiceprint.scoring import Embedding, make_centroid
from listener.voiceprint.speech import select_speech
from tests.conftest import introduced

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
NAME = "household.flac"
LIMIT_S = 230.0
"""Of one run, on a machine of any load."""
CHILD = "listener.hear.voiceprint.embedding_process"


@dataclass(frozen=True)
class Recorded:
    """The fixture: its sound, and the sentences by voice."""

    sound: Samples
    said: dict[str, list[tuple[int, int]]]

    def sentence(self, who: str, index: int) -> Samples:
        first, end = self.said[who][index]
        return self.sound[first:end]


def read_recorded() -> Recorded:
    """Return the fixture."""
    index = tomllib.loads((FIXTURES / "index.toml").read_text("utf-8"))["recording"]
    (entry,) = (one for one in index if one["file"] == NAME)
    sound, _ = soundfile.read(FIXTURES / NAME, dtype="int16")
    said: dict[str, list[tuple[int, int]]] = {}
    for line in entry["said"]:
        said.setdefault(line["who"], []).append((line["first_sample"], line["end_sample"]))
    return Recorded(sound, said)


def enrol(*recordings: Samples) -> Embedding:
    """Return the centroid of recordings of one voice."""
    network = SpeakerEmbedding.load()
    speech = SpeechNet(Catalogue(Path(os.devnull)).speech())
    embeddings = []
    for samples in recordings:
        speech.reset()
        steps = range(0, len(samples) - SPEECH_STEP_SAMPLES + 1, SPEECH_STEP_SAMPLES)
        probabilities = [speech.probability(samples[at : at + SPEECH_STEP_SAMPLES]) for at in steps]
        chosen = select_speech(samples, probabilities, SPEECH_STEP_SAMPLES)
        embeddings.append(network.embed(chosen[: 3 * SAMPLE_RATE_HZ]))
    return make_centroid(np.stack(embeddings))


class VoiceSpeaker:
    """A speaker whose owners are ada, its keeper, and bob."""

    def __init__(self, home: Path, embeddings: dict[str, Embedding], **attribution: object) -> None:
        self.path = home
        self.home = Home(home)
        self.key = self.home.device_key()
        self.store = VoiceprintStore(home)
        self.identities = {name: pyrage.x25519.Identity.generate() for name in embeddings}
        for name, identity in self.identities.items():
            recipient = str(identity.to_public())
            self.home.change_roster(
                lambda roster, name=name, to=recipient: introduced(roster, name, to, 0)  # type: ignore[misc]  # the defaults bind the loop's values
            )
        self.voiceprints = {name: self.make(name, one) for name, one in embeddings.items()}
        for voiceprint in self.voiceprints.values():
            self.store.write(voiceprint, self.key)
        values = {"keeper": "ada", "mode": "voice"} | attribution
        self.config = home.parent / "voices.toml"
        self.config.write_text(
            "[attribution]\n"
            + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        )

    def make(self, name: str, embedding: Embedding, **fields: str) -> Voiceprint:
        values: dict[str, Any] = {
            "owner": name,
            "okey": self.home.roster().known_owner(name).okey,
            "device": keys.device_text(self.key.public_key()),
            "model": Catalogue(self.path).manifest("speaker-embedding").sha256,
            "vector": encode_vector(embedding),
            "threshold": 0.5,
            "sentences": 1,
            "speech_s": 2.5,
            "t": "2026-01-02T03:04:05.678Z",
        }
        return Voiceprint(**(values | fields))

    def words(self, *more: str | Path) -> list[str]:
        return [
            *(sys.executable, "-m", "listener", "hear", "--home", str(self.path)),
            *("--config", str(self.config), "--json", *map(str, more)),
        ]

    def hear(self, *more: str | Path) -> tuple[list[dict[str, Any]], str]:
        """Return the events of a run to its end, and its messages."""
        ended = subprocess.run(
            self.words("--fast", "--microphone", *more),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()], ended.stderr

    def clips(self) -> list[OpenedClip]:
        """Return what was sealed, opened with the owners' keys."""
        opened = []
        for envelope in sorted((self.path / "spool").glob("*.earmark")):
            owner = envelope.name.split(".")[1]
            opened.append(
                open_envelope(
                    envelope.read_bytes(),
                    parse_identities(str(self.identities[owner]).encode(), owner),
                    {"speaker": self.key.public_key()},
                    self.home.roster().active_owners(),
                )
            )
        return opened
