"""``earmark owner enrol``: makes the voiceprint of an owner, at the microphone or from files."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.config import Config
from listener.envelope import keys
from listener.envelope.format import format_timestamp
from listener.errors import UsageError
from listener.hear.enrolment.enrolment_client import EnrolmentClient
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.inference.speaker_embedding import SpeakerEmbedding
from listener.inference.voice_cohort import load_cohort
from listener.quantities import quantity
from listener.storage.home import Home
from listener.storage.recordings import open_recording
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.enrolment import (
    SENTENCES,
    EnrolledCentroid,
    EnrolmentRefused,
    EnrolmentSentence,
    RecordingLevels,
    RecordingProblem,
    assess_recording,
    complete_enrolment,
    detect_speech,
    embed_sentence,
    find_other_voices,
    is_same_voice,
    split_speech,
)
from listener.voiceprint.record import Voiceprint, VoiceprintRefused, encode_vector
from listener.voiceprint.scoring import ExpectedRate

CONSENT: Final = """\
A voiceprint will be made of the voice of {name}. Read this before you agree.

  A voiceprint is biometric data: 192 numbers by which this speaker recognises the voice of one
  person. It is stored on this speaker alone, where the listening process can read it. It is never
  sent to the hub, the broker or the archive. {name} can export it, sealed to their own key. The
  recordings that it is made of are not stored.

  It is used for one purpose: to decide whether a clip after the wake word is of {name}. It proves
  nothing: a recording that is played back has the same voice, so nothing dangerous may depend on
  it. Children's voices, whispering and colds were not measured.

  To agree is voluntary. Without a voiceprint the speaker works with attribution.mode = "keeper".
  {name} can have it erased at any time, without a reason: earmark owner voiceprint erase
  {name}. Forgetting the owner erases it too.
"""
"""Text that a person agrees to before the enrolment."""

PROMPTS: Final = (
    "The kettle is on, and the bread is almost done.",
    "Please remind me to water the plants on Sunday.",
    "My brother lives in a small house by the river.",
    "We should leave before the rain begins again.",
    "How long does the train take to the coast?",
    "There are seven green apples in the wooden bowl.",
    "Turn the lights down when the film begins.",
    "She bought a warm coat and a pair of brown shoes.",
    "What will the weather be like in the mountains?",
    "I would like to hear some quiet music this evening.",
)
"""Sentences to read aloud; any others of the same length, in any language, do as well."""

_TRIES: Final = 4
"""Recordings of one sentence before the enrolment gives up."""
_LONGEST_FILE_S: Final = 600.0
_READ_SAMPLES: Final = 1 << 16

_ADVICE: Final[dict[RecordingProblem, str]] = {
    RecordingProblem.SHORT: "less than 1.5 s of speech; speak the whole sentence",
    RecordingProblem.CLIPPED: "too loud; move away from the microphone, or lower its gain",
    RecordingProblem.QUIET: "too quiet; move nearer to the microphone, or raise its gain",
    RecordingProblem.NOISY: "too much noise; move nearer, or switch off its source",
    RecordingProblem.OTHER_VOICE: "another voice than in the other recordings; speak alone",
}


@dataclass(frozen=True, slots=True)
class _Console:
    """Where results and remarks are printed."""

    is_json: bool

    def show(self, source: str, levels: RecordingLevels) -> None:
        """Print the levels of a recording, and whether it is used."""
        if self.is_json:
            row = {
                "recording": source,
                "level_dbfs": round(levels.level_dbfs, 1),
                "noise_dbfs": round(levels.noise_dbfs, 1),
                "speech_s": round(levels.speech_s, 2),
                "problem": levels.problem,
            }
            print(json.dumps(row), flush=True)
            return
        verdict = "accepted" if levels.problem is None else _ADVICE[levels.problem]
        print(
            f"  {source}: level {levels.level_dbfs:.0f} dBFS, noise {levels.noise_dbfs:.0f} dBFS,"
            f" {levels.speech_s:.1f} s of speech: {verdict}",
            flush=True,
        )

    def say(self, text: str) -> None:
        """Print a remark, unless the output is JSON."""
        if not self.is_json:
            print(text, flush=True)


def enrol(arguments: argparse.Namespace, settings: Config, home: Home) -> int:
    """Make the voiceprint of an owner.

    Raises:
        EarmarkError: for anything foreseeable; the voiceprint of before, if any, is unchanged.
    """
    name: str = arguments.name
    console = _Console(arguments.json)
    roster = home.roster()
    owner = roster.known_owner(name)
    if not owner.active:
        raise VoiceprintRefused(name, "owner")
    cohort, network = load_cohort(), SpeakerEmbedding.load()
    key = home.device_key()
    store = VoiceprintStore(home.path)
    known = store.load(roster, key.public_key(), network.model_sha256)
    others = {other: one.embedding for other, one in known.accepted.items() if other != name}
    ask_consent(name, console.say, is_given=arguments.consent)
    sentences = (
        _enrol_files(arguments.files, network, console)
        if arguments.files
        else _enrol_at_microphone(settings, console)
    )
    made = complete_enrolment(
        sentences,
        cohort,
        others,
        least=settings.attribution.threshold,
    )
    store.write(
        Voiceprint(
            owner=name,
            okey=owner.okey,
            device=keys.device_text(key.public_key()),
            model=network.model_sha256,
            vector=encode_vector(made.centroid),
            threshold=made.calibration.threshold,
            sentences=made.sentences,
            speech_s=round(made.speech_s, 3),
            t=format_timestamp(datetime.now(UTC)),
        ),
        key,
    )
    _report(name, made, len(others), settings, console)
    return 0


def ask_consent(name: str, say: Callable[[str], None], *, is_given: bool) -> None:
    """Print the text about voiceprints, and ask for consent unless it is given.

    Args:
        name: the owner.
        say: prints a text.
        is_given: whether the owner has agreed already.

    Raises:
        UsageError: the person did not agree, or cannot be asked.
    """
    say(CONSENT.format(name=name))
    if is_given:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "a voiceprint needs the consent of its owner",
            f"show the text to {name}, and pass --consent once they agree",
        )
    answer = input(f"Do you agree, {name}? Type yes: ")
    if answer.strip().lower() != "yes":
        raise UsageError("no voiceprint was made: its owner did not agree")


def _enrol_files(
    files: Sequence[str], network: SpeakerEmbedding, console: _Console
) -> list[EnrolmentSentence]:
    """Embed the speech of files; refuse a file with a problem, and one with another voice."""
    speech_model = SpeechNet(Catalogue(Path("/dev/null")).speech())
    sentences: list[EnrolmentSentence] = []
    origins: list[str] = []
    for file in files:
        samples = _read(Path(file))
        speech = detect_speech(samples, speech_model)
        levels = assess_recording(samples, speech)
        console.show(file, levels)
        if levels.problem is not None:
            raise EnrolmentRefused(
                f"{file} cannot be used: {_ADVICE[levels.problem]}", "leave it out, or replace it"
            )
        for part in split_speech(speech):
            sentences.append(embed_sentence(part, network.embed, len(sentences)))
            origins.append(file)
    strange = find_other_voices([one.embeddings[0] for one in sentences])
    if strange:
        names = ", ".join(dict.fromkeys(origins[at] for at in strange))
        raise EnrolmentRefused(
            f"another voice than in the other recordings: {names}",
            "use recordings of one person alone",
        )
    return sentences


def _enrol_at_microphone(settings: Config, console: _Console) -> list[EnrolmentSentence]:
    """Record sentences one after the other; each problem is said, and the sentence repeated."""
    console.say(
        f"Read {quantity(SENTENCES, 'sentence')} aloud, as you speak to the speaker, from where you"
        " usually stand.\nAny sentence of this length, in any language, does as well."
    )
    sentences: list[EnrolmentSentence] = []
    with EnrolmentClient(settings) as client:
        for number, prompt in enumerate(PROMPTS, 1):
            source = f"{number} of {len(PROMPTS)}"
            for _ in range(_TRIES):
                console.say(f"\n  say: {prompt}")
                reply = client.record()
                levels, sentence = reply.levels, reply.sentence
                before = [one.embeddings[0] for one in sentences]
                if sentence is not None and not is_same_voice(sentence.embeddings[0], before):
                    levels = RecordingLevels(
                        levels.level_dbfs,
                        levels.noise_dbfs,
                        levels.speech_s,
                        RecordingProblem.OTHER_VOICE,
                    )
                    sentence = None
                console.show(source, levels)
                if sentence is not None:
                    sentences.append(sentence)
                    break
            else:
                raise EnrolmentRefused(
                    f"{quantity(_TRIES, 'recording')} of one sentence could not be used",
                    "start again in a quiet room, without other people speaking",
                )
    return sentences


def _read(path: Path) -> Samples:
    """Return a whole recording.

    Raises:
        UsageError: it is longer than ten minutes.
        Unavailable: it cannot be read.
    """

    def blocks() -> Iterator[Samples]:
        total = 0
        with open_recording(path) as recording:
            while (block := recording.read(_READ_SAMPLES)) is not None:
                total += len(block)
                if total > _LONGEST_FILE_S * SAMPLE_RATE_HZ:
                    raise UsageError(
                        f"{path} is longer than {_LONGEST_FILE_S / 60:.0f} minutes",
                        "cut it: half a minute of speech is enough",
                    )
                yield block

    return np.concatenate([np.zeros(0, np.int16), *blocks()])


def _report(
    name: str, made: EnrolledCentroid, others: int, settings: Config, console: _Console
) -> None:
    refused, wrong = made.refused, made.calibration.wrong
    if console.is_json:
        row = {
            "owner": name,
            "sentences": made.sentences,
            "speech_s": round(made.speech_s, 1),
            "threshold": round(made.calibration.threshold, 3),
            "refused": _rate(refused),
            "accepted_others": _rate(wrong),
            "other_owners": others,
        }
        print(json.dumps(row))
        return
    console.say(
        f"\nthe voiceprint of {name} is made of {quantity(made.sentences, 'sentence')} with"
        f" {made.speech_s:.0f} s of speech; its threshold is {made.calibration.threshold:.2f}\n"
        f"expected, with 95 % confidence:\n"
        f"  {name} refused:        {_percent(refused)}, of these recordings, also in noise and in a"
        " room\n"
        f"  another accepted:  {_percent(wrong)}, of {wrong.trials} other voices, by which the"
        " threshold was set"
    )
    if settings.attribution.mode == "keeper":
        console.say(
            'it is not used yet: set attribution.mode to "keeper-voice", or to "voice" for several'
            " owners, and restart earmark hear"
        )


def _rate(rate: ExpectedRate) -> dict[str, float]:
    return {
        "rate": round(rate.value, 4),
        "low": round(rate.low, 4),
        "high": round(rate.high, 4),
        "trials": rate.trials,
    }


def _percent(rate: ExpectedRate) -> str:
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f} %)"
