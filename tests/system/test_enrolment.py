"""Enrolment of two owners: real voices of a synthesiser, the real model, real processes."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyrage
import pytest
import soundfile

from listener.cli import owner_enrol
from listener.cli.main import main
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.storage.home import Home
from listener.storage.locations import VOICEPRINTS
from listener.storage.voiceprints import LoadedVoiceprints, VoiceprintStore
from listener.voiceprint.erasure_receipt import parse_erasure
from listener.voiceprint.scoring import decide, similarity
from listener.voiceprint.speech import find_loudest
from tests.conftest import introduced
from tests.system.spoken_sentences import speak_sentences

pytestmark = pytest.mark.system


class EnrolledHome:
    """A speaker's home with two confirmed owners."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = Home(path)
        self.key = self.home.device_key()
        self.identities: dict[str, pyrage.x25519.Identity] = {}

    def add(self, name: str, identity: pyrage.x25519.Identity | None = None) -> None:
        made = identity or pyrage.x25519.Identity.generate()
        self.identities[name] = made
        recipient = str(made.to_public())
        self.home.change_roster(lambda roster: introduced(roster, name, recipient, 0))

    def run(self, *words: str) -> int:
        return main(["owner", *words, "--home", str(self.path)])

    def enrol(self, name: str, files: list[str]) -> int:
        return self.run("enrol", name, "--consent", "--files", *files)

    def load(self) -> LoadedVoiceprints:
        model = SpeakerEmbedding.load().model_sha256
        return VoiceprintStore(self.path).load(self.home.roster(), self.key.public_key(), model)


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("voices")
    return {"ada": speak_sentences(folder, "slt"), "bob": speak_sentences(folder, "kal16")}


@pytest.fixture
def speaker(tmp_path: Path) -> EnrolledHome:
    made = EnrolledHome(tmp_path / "home")
    made.add("ada")
    made.add("bob")
    return made


@pytest.fixture(scope="module")
def enrolled_once(
    tmp_path_factory: pytest.TempPathFactory, voices: dict[str, list[str]]
) -> EnrolledHome:
    """A speaker with a voiceprint of ada, to be copied."""
    made = EnrolledHome(tmp_path_factory.mktemp("enrolled") / "home")
    made.add("ada")
    made.add("bob")
    assert made.enrol("ada", voices["ada"]) == 0
    return made


@pytest.fixture
def enrolled(enrolled_once: EnrolledHome, tmp_path: Path) -> EnrolledHome:
    shutil.copytree(enrolled_once.path, tmp_path / "enrolled")
    made = EnrolledHome(tmp_path / "enrolled")
    made.identities = dict(enrolled_once.identities)
    return made


def test_two_owners_are_enrolled_from_files(
    speaker: EnrolledHome, voices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, files in voices.items():
        assert speaker.enrol(name, files) == 0
    shown = capsys.readouterr().out

    loaded = speaker.load()
    ada, bob = (loaded.accepted[name] for name in ("ada", "bob"))
    assert loaded.refused == ()
    assert similarity(ada.embedding, bob.embedding) < 0.5
    assert ada.sentences == 6
    assert ada.speech_s > 9
    assert "A voiceprint is biometric data" in shown
    assert "ada refused:" in shown
    assert 'set attribution.mode to "keeper-voice"' in shown
    # Of the recordings nothing is kept but the two files.
    kept = {path.name for path in (speaker.path / VOICEPRINTS).iterdir()}
    assert kept == {"ada.json", "bob.json"}
    assert sum(path.stat().st_size for path in (speaker.path / VOICEPRINTS).iterdir()) < 4_096
    assert speaker.run("voiceprint", "list") == 0
    assert "ada" in capsys.readouterr().out


def test_consent_is_asked_for_first(
    speaker: EnrolledHome, voices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert speaker.run("enrol", "ada", "--files", *voices["ada"]) == 2

    shown = capsys.readouterr()
    assert "A voiceprint is biometric data" in shown.out
    assert "needs the consent of its owner" in shown.err
    assert speaker.load().accepted == {}


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("no", 2), ("", 2), ("ada", 2)])
def test_only_a_yes_is_consent(
    speaker: EnrolledHome,
    voices: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answer)

    assert speaker.run("enrol", "ada", "--files", *voices["ada"]) == code
    assert set(speaker.load().accepted) == ({"ada"} if code == 0 else set())


def test_recording_of_another_person_is_named(
    speaker: EnrolledHome, voices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert speaker.enrol("ada", [*voices["ada"][:5], voices["bob"][5]]) == 1

    error = capsys.readouterr().err
    assert "another voice than in the other recordings" in error
    assert "kal16-5.wav" in error
    assert "slt-" not in error
    assert speaker.load().accepted == {}


def test_voice_of_another_owner_is_refused(
    enrolled: EnrolledHome, voices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert enrolled.enrol("bob", voices["ada"]) == 1
    assert "this is the voice of ada" in capsys.readouterr().err
    assert set(enrolled.load().accepted) == {"ada"}


def _changed(path: str, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
    samples, rate = soundfile.read(path, dtype="float64")
    changed = folder / "changed.wav"
    soundfile.write(changed, change(samples), rate, "PCM_16")
    return str(changed)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda sound: sound[:12_000], "less than 1.5 s of speech"),
        (lambda sound: np.clip(sound * 100, -1, 1), "too loud"),
        (lambda sound: sound * 0.002, "too quiet|less than 1.5 s"),
        (
            lambda sound: sound + np.random.default_rng(1).normal(size=len(sound)) * 0.1,
            "too much noise|less than 1.5 s",
        ),
    ],
)
def test_unusable_recording_is_named_with_its_reason(
    speaker: EnrolledHome,
    voices: dict[str, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[np.ndarray], np.ndarray],
    problem: str,
) -> None:
    file = _changed(voices["ada"][0], tmp_path, change)

    assert speaker.enrol("ada", [file, *voices["ada"][1:]]) == 1
    error = capsys.readouterr().err
    assert "changed.wav cannot be used" in error
    assert any(part in error for part in problem.split("|"))


def test_too_few_recordings_make_no_voiceprint(
    speaker: EnrolledHome, voices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert speaker.enrol("ada", voices["ada"][:4]) == 1
    assert "needs 5 recordings" in capsys.readouterr().err


def test_owner_without_a_confirmed_key_is_not_enrolled(
    speaker: EnrolledHome, voices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    speaker.home.change_roster(lambda roster: roster.with_owner("eve", recipient))

    assert speaker.enrol("eve", voices["ada"]) == 78
    assert "has not confirmed their key" in capsys.readouterr().err
    assert speaker.enrol("zoe", voices["ada"]) != 0


def test_forgotten_owner_leaves_no_voiceprint_and_a_receipt(
    enrolled: EnrolledHome, capsys: pytest.CaptureFixture[str]
) -> None:

    assert enrolled.run("forget", "ada") == 0

    receipt = parse_erasure(capsys.readouterr().out.strip().splitlines()[-1].encode())
    assert receipt.owner == "ada"
    assert list((enrolled.path / VOICEPRINTS).iterdir()) == []


def test_voiceprint_is_erased_without_forgetting_the_owner(
    enrolled: EnrolledHome, capsys: pytest.CaptureFixture[str]
) -> None:

    assert enrolled.run("voiceprint", "erase", "ada", "--json") == 0
    assert parse_erasure(capsys.readouterr().out.encode()).owner == "ada"
    assert enrolled.home.roster().known_owner("ada").active
    assert enrolled.run("voiceprint", "erase", "ada") == 1


def test_voiceprint_moves_to_another_speaker_through_its_owners_key(
    enrolled: EnrolledHome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert enrolled.run("voiceprint", "export", "ada") == 0
    sealed = capsys.readouterr().out.encode()
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed, [enrolled.identities["bob"]])
    other = EnrolledHome(tmp_path / "other")
    other.add("ada", enrolled.identities["ada"])
    other.add("bob")

    def give(data: bytes, to: EnrolledHome, name: str) -> int:
        path = tmp_path / "given"
        path.write_bytes(data)
        with path.open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            return to.run("voiceprint", "import", name)

    plain = pyrage.decrypt(sealed, [enrolled.identities["ada"]])
    assert give(sealed, other, "ada") == 2
    assert "decrypt it first" in capsys.readouterr().err
    assert give(plain, other, "bob") == 78  # crossed
    assert give(plain.replace(b'"sentences":6', b'"sentences":7'), other, "ada") == 78
    assert other.load().accepted == {}
    assert give(plain, other, "ada") == 0

    moved, first = other.load().accepted["ada"], enrolled.load().accepted["ada"]
    assert moved.vector == first.vector
    assert moved.device != first.device


def test_voiceprint_is_not_imported_for_another_key(
    enrolled: EnrolledHome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = (enrolled.path / VOICEPRINTS / "ada.json").read_bytes()
    stranger = EnrolledHome(tmp_path / "stranger")
    stranger.add("ada")
    path = tmp_path / "given"
    path.write_bytes(data)
    with path.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert stranger.run("voiceprint", "import", "ada") == 78
    assert stranger.load().accepted == {}


def test_owner_is_enrolled_at_the_microphone(
    speaker: EnrolledHome,
    voices: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The confined enrolment process records through hear's gate; a stranger is asked again."""
    monkeypatch.setattr(owner_enrol, "PROMPTS", owner_enrol.PROMPTS[:5])
    quiet = np.zeros(32_000)
    parts = [quiet]
    said = [*voices["ada"][:3], voices["bob"][0], *voices["ada"][3:5]]
    for file in said:
        samples, _ = soundfile.read(file)
        parts += [samples, quiet]
    sound = np.concatenate(parts) + np.random.default_rng(1).normal(size=sum(map(len, parts))) / 9e3
    soundfile.write(tmp_path / "room.wav", sound, 16_000, "PCM_16")
    config = tmp_path / "earmark.toml"
    config.write_text(f'[microphone]\nfiles = ["{tmp_path / "room.wav"}"]\n')

    code = speaker.run("enrol", "ada", "--consent", "--json", "--config", str(config))

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert [row["problem"] for row in rows[:-1]] == [None] * 3 + ["other-voice"] + [None] * 2
    assert rows[-1]["sentences"] == 5
    assert set(rows[-1]) >= {"refused", "accepted_others", "threshold"}
    assert "similarity" not in json.dumps(rows)
    assert speaker.load().accepted["ada"].sentences == 5


def test_muted_microphone_is_said(
    speaker: EnrolledHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "room.wav", np.zeros(16_000), 16_000, "PCM_16")
    config = tmp_path / "earmark.toml"
    config.write_text(f'[microphone]\nfiles = ["{tmp_path / "room.wav"}"]\n')
    main(["mute", "on", "--home", str(speaker.path), "--config", str(config)])
    capsys.readouterr()

    assert speaker.run("enrol", "ada", "--consent", "--config", str(config)) == 69
    assert "the microphone is muted" in capsys.readouterr().err


def test_real_voices_are_enrolled_and_told_apart(speaker: EnrolledHome, recordings: Path) -> None:
    """Two of the six people of the development set are owners, the others guests."""
    by_person: dict[str, list[str]] = {}
    for path in sorted((recordings / "speakers" / "librispeech").glob("*.flac")):
        by_person.setdefault(path.name.partition("-")[0], []).append(str(path))
    people = sorted(by_person)
    for name, person in zip(("ada", "bob"), people, strict=False):
        assert speaker.enrol(name, by_person[person][:3]) == 0
    voices = {name: one.voice for name, one in speaker.load().accepted.items()}
    network = SpeakerEmbedding.load()

    def attribute(person: str) -> list[str | None]:
        found = []
        for path in by_person[person][-3:]:
            samples, _ = soundfile.read(path, dtype="int16")
            found.append(decide(network.embed(find_loudest(samples)), voices).owner)
        return found

    assert attribute(people[0]) == ["ada"] * 3
    assert attribute(people[1]) == ["bob"] * 3
    guests = [owner for person in people[2:] for owner in attribute(person)]
    assert guests == [None] * 12
