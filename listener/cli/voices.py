"""``earmark evaluate voices``: measures attribution by voice, with intervals."""

import argparse
import hashlib
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.cli.main import with_examples
from listener.config import Config
from listener.errors import UsageError
from listener.evaluate.corpus.augmentation import Condition
from listener.evaluate.corpus.datasets import PLAYED_GROUPS, list_sounds, open_corpus
from listener.evaluate.corpus.items import CombinedCorpus, Item, NotedCorpus
from listener.evaluate.corpus.playback import cached_file_hash
from listener.evaluate.engines.cache import ScoreCache
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.job import limit_threads
from listener.evaluate.metrics.results import SkippedItem
from listener.evaluate.plan import ConditionSettings
from listener.evaluate.progress import ItemProgress
from listener.evaluate.report.text import CORPUS_NOTE
from listener.evaluate.runner import resolve_condition
from listener.evaluate.voices.embedder import CachedEncoder
from listener.evaluate.voices.error_rates import measure_share
from listener.evaluate.voices.utterances import (
    Utterance,
    VoiceActivity,
    list_utterances,
    read_speech,
)
from listener.evaluate.voices.verification import (
    REFERENCE_S,
    VerificationSettings,
    VoiceGroup,
    build_group,
    calibrate,
    describe_group,
    embed_group,
    judge,
)
from listener.evaluate.voices.voices_report import (
    define_terms,
    list_lines,
    list_objects,
    write_report,
)
from listener.evaluate.voices.voices_result import ShortCommands, VoicesResult
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import SpeechNet
from listener.inference.speaker_embedding import SHORTEST_SAMPLES, SpeakerEmbedding
from listener.quantities import quantity
from listener.voiceprint.enrolment import SENTENCES
from listener.voiceprint.scoring import DEFAULT_MARGIN
from listener.voiceprint.speech import MIN_SPEECH_SAMPLES

HOUSEHOLDS: Final = (2, 4, 8)
LENGTHS_S: Final = (1.0, 2.0, 3.0)
ACCEPTED: Final = 0.001
GROUPS: Final = (*PLAYED_GROUPS, "speakers")
"""Groups of a ``manifest.json`` that are read."""

EXAMPLES: Final = (
    "earmark evaluate voices --corpus LibriSpeech/test-clean --room rooms",
    "earmark evaluate voices --corpus sounds --calibrate 'a/*' --judge 'b/*'",
)
DETAILS: Final = """\
The recordings need the speaker of each. Two groups of speakers take turns: thresholds and cohort
come from one, and the other is judged. Without --calibrate and --judge the speakers are divided in
halves. Voices are enrolled, calibrated and decided by the code of the device; see
docs/research/voices.md.

The results are result.json, verification.csv, households.csv, second-voice.csv, report.html, and in
figures/ each figure as SVG and PNG with its data as CSV. The exit code is 1 if an item could not be
read, or if a household size of --household needs more speakers than there are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``earmark evaluate voices``."""
    parser.epilog = with_examples(DETAILS, *EXAMPLES)
    parser.add_argument(
        "--corpus",
        action="append",
        required=True,
        metavar="PATH",
        help="recordings with the speaker of each; may be repeated",
    )
    parser.add_argument(
        "--calibrate",
        action="append",
        metavar="PATTERN",
        help="items of the first group, e.g. 'negative/speech_commands/*'; may be repeated",
    )
    parser.add_argument(
        "--judge",
        action="append",
        metavar="PATTERN",
        help="items of the second group; may be repeated; needs --calibrate",
    )
    parser.add_argument(
        "--channel", type=int, metavar="N", help="input channel, from 0 (default: the microphone's)"
    )
    parser.add_argument(
        "--noise", metavar="PATH", help="noise file or a folder of them; needs --snr-db"
    )
    parser.add_argument(
        "--snr-db",
        action="append",
        type=float,
        metavar="X",
        help="signal-to-noise ratio in dB; may be repeated; without noise is evaluated, too",
    )
    parser.add_argument(
        "--room",
        metavar="PATH",
        help="room impulse response, or a folder of them; evaluated without and with noise",
    )
    parser.add_argument(
        "--length-s",
        action="append",
        type=float,
        metavar="S",
        help="length of speech in seconds, 0.5 to 3; may be repeated; 2 is always evaluated"
        " (default: 1, 2 and 3)",
    )
    parser.add_argument(
        "--household",
        action="append",
        type=int,
        metavar="N",
        help="owners of a household, 2 to 20; may be repeated (default: 2, 4 and 8)",
    )
    parser.add_argument(
        "--accepted",
        type=float,
        default=ACCEPTED,
        metavar="P",
        help="share of comparisons with strangers that are above the least threshold in the group"
        f" that it is chosen on, for normal scores, 1e-06 to under 0.5 (default: {ACCEPTED:g})",
    )
    parser.add_argument(
        "--margin",
        type=float,
        metavar="X",
        help="least difference of the first and the second owner, 0 to under 1"
        f" (default: {DEFAULT_MARGIN})",
    )
    parser.add_argument(
        "--commands",
        metavar="PATH",
        help="recordings of short commands: the share of them that makes no clip",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="seed of all random choices (default: 1)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        default="voices",
        help="folder for the results (default: voices)",
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="folder for cached embeddings (default: embeddings in the folder for the results)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Evaluate; return 1 if an item is missing or a requested household cannot be formed.

    Raises:
        EarmarkError: the recordings or the model cannot be used, or an option is out of range.
    """
    _check(arguments)
    limit_threads()
    channel = settings.microphone.channel if arguments.channel is None else arguments.channel
    skipped: list[SkippedItem] = []
    sounds: dict[Path, str] = {}
    conditions = tuple(resolve_condition(each, sounds, skipped) for each in _conditions(arguments))
    measured = VerificationSettings(
        conditions=conditions,
        lengths_s=tuple(sorted({REFERENCE_S, *(arguments.length_s or LENGTHS_S)})),
        households=tuple(sorted(set(arguments.household or HOUSEHOLDS))),
        accepted=arguments.accepted,
        margin=DEFAULT_MARGIN if arguments.margin is None else arguments.margin,
        seed=arguments.seed,
    )
    detector = SpeechNet(Catalogue(Path(settings.home)).speech())
    encoder = CachedEncoder(
        SpeakerEmbedding.load(),
        ScoreCache(Path(arguments.cache or Path(arguments.out) / "embeddings")),
    )
    corpus = CombinedCorpus(open_corpus(Path(path), groups=GROUPS) for path in arguments.corpus)
    faults: list[tuple[str, str]] = []
    utterances = _divide(list(corpus), arguments)
    groups = [
        build_group(name, read_speech(members, detector, channel, faults))
        for name, members in utterances.items()
    ]
    _check_disjoint(groups)
    commands = _measure_commands(arguments.commands, detector, channel, arguments.seed)
    result = VoicesResult(
        plan=_plan(arguments, measured, channel),
        hashes=_hashes(encoder, utterances.values(), sounds, {name for name, _ in faults}),
        versions=versions(),
        definitions=dict(define_terms()),
        warnings=_warnings(corpus, groups),
        missing=(),
        groups=tuple(map(describe_group, groups)),
        directions=(),
        commands=commands,
    )
    speakers = sum(len(group.speakers) for group in groups)
    with ItemProgress(speakers, speakers, sys.stderr) as progress:
        embedded = [
            embed_group(group, measured, encoder, announce=progress.begin, advance=progress.advance)
            for group in groups
        ]
    directions = tuple(
        judge(judged, calibrate(other, measured), measured)
        for judged, other in (embedded[::-1], embedded)
    )
    skipped += [SkippedItem(item=name, why=why) for name, why in faults]
    result = msgspec.structs.replace(result, directions=directions, missing=tuple(skipped))
    write_report(result, Path(arguments.out))
    if arguments.json:
        for line in list_objects(result):
            print(line.decode())
    else:
        for text in list_lines(result):
            print(text)
        print(f"charts: {Path(arguments.out) / 'report.html'}")
    refused = arguments.household and any(each.refused_households for each in directions)
    return int(bool(skipped or refused))


def _check(arguments: argparse.Namespace) -> None:
    """Check the ranges of the options.

    Raises:
        UsageError: one is out of range, or needs another.
    """
    if bool(arguments.calibrate) != bool(arguments.judge):
        raise UsageError("--calibrate and --judge need each other", "pass both or none")
    if bool(arguments.noise) != bool(arguments.snr_db):
        raise UsageError("--noise and --snr-db need each other", "pass both or none")
    shortest = SHORTEST_SAMPLES / SAMPLE_RATE_HZ
    limits = (
        ("--length-s", arguments.length_s or (), shortest, 3.0),
        ("--household", arguments.household or (), 2, 20),
        ("--accepted", [arguments.accepted], 1e-6, 0.499),
        ("--margin", [] if arguments.margin is None else [arguments.margin], 0, 0.999),
        ("--snr-db", arguments.snr_db or (), -40, 80),
    )
    for name, values, low, high in limits:
        for value in values:
            if not low <= value <= high:
                raise UsageError(
                    f"{name} {value:g} is out of range", f"use a number from {low:g} to {high:g}"
                )


def _conditions(arguments: argparse.Namespace) -> Iterable[ConditionSettings]:
    """Yield clean speech, each noise level, the room, and the room with each noise level."""
    for room in (None, arguments.room) if arguments.room else (None,):
        name = "room" if room else ""
        yield ConditionSettings(name=name or Condition().name, room=room)
        for level in arguments.snr_db or ():
            yield ConditionSettings(
                name=", ".join(filter(None, (name, f"{level:g} dB"))),
                noise=arguments.noise,
                snr_db=level,
                room=room,
            )


def _divide(
    items: Sequence[Item | object], arguments: argparse.Namespace
) -> Mapping[str, Sequence[Utterance]]:
    """Return the utterances of both groups by their names."""
    known = [item for item in items if isinstance(item, Item)]
    if arguments.calibrate:
        return {
            ", ".join(patterns): list_utterances(known, patterns)
            for patterns in (arguments.calibrate, arguments.judge)
        }
    utterances = list_utterances(known)
    speakers = sorted(
        {each.speaker for each in utterances},
        key=lambda name: hashlib.sha256(
            f"{arguments.seed}\0{name}".encode(errors="replace")
        ).digest(),
    )
    first = set(speakers[: len(speakers) // 2])
    return {
        "first half": [each for each in utterances if each.speaker in first],
        "second half": [each for each in utterances if each.speaker not in first],
    }


def _check_disjoint(groups: Sequence[VoiceGroup]) -> None:
    """Check that no speaker is in both groups.

    Raises:
        UsageError: one is.
    """
    first, second = ({each.speaker for each in group.speakers} for group in groups)
    if both := sorted(first & second):
        raise UsageError(
            f"{quantity(len(both), 'speaker')} in both groups: {', '.join(both[:3])}",
            "a voice must not be judged by a threshold that was chosen on it: change --calibrate"
            " or --judge",
        )


def _measure_commands(
    path: str | None, detector: VoiceActivity, channel: int, seed: int
) -> ShortCommands | None:
    if path is None:
        return None
    sounds = list_sounds(Path(path))
    faults: list[tuple[str, str]] = []
    utterances = [
        Utterance(str(number), sound.name, Item(sound.name, sound))
        for number, sound in enumerate(sounds)
    ]
    speech = read_speech(utterances, detector, channel, faults)
    if faults:
        raise UsageError(": ".join(faults[0]), "remove the file, or repair it")
    lengths = [sum(map(len, each)) for _, each in sorted(speech.items(), key=_number)]
    return ShortCommands(
        no_clip=measure_share(
            [float(length < MIN_SPEECH_SAMPLES) for length in lengths], [1.0] * len(lengths), seed
        ),
        speech_s=tuple(round(length / SAMPLE_RATE_HZ, 3) for length in lengths),
    )


def _number(entry: tuple[str, tuple[Samples, ...]]) -> int:
    return int(entry[0])


def _warnings(corpus: NotedCorpus, groups: Sequence[VoiceGroup]) -> tuple[str, ...]:
    warnings = [f"{CORPUS_NOTE}{note}" for note in corpus.notes()]
    for group in groups:
        fewest = min(len(each.takes) for each in group.owners)
        if fewest < SENTENCES:
            warnings.append(
                f"{group.name}: voices enrolled with {quantity(fewest, 'recording')} or more, where"
                f" an enrolment at the microphone has {SENTENCES}"
            )
    return tuple(warnings)


def _plan(
    arguments: argparse.Namespace, measured: VerificationSettings, channel: int
) -> dict[str, object]:
    return {
        "corpus": [Path(path).name for path in arguments.corpus],
        "calibrate": arguments.calibrate or [],
        "judge": arguments.judge or [],
        "conditions": [each.name for each in measured.conditions],
        "lengths_s": list(measured.lengths_s),
        "households": list(measured.households),
        "accepted": measured.accepted,
        "margin": measured.margin,
        "seed": measured.seed,
        "channel": channel,
    }


def _hashes(
    encoder: CachedEncoder,
    groups: Iterable[Sequence[Utterance]],
    sounds: Mapping[Path, str],
    unreadable: Collection[str],
) -> dict[str, str]:
    files = sorted(
        {each.item.path for group in groups for each in group if each.item.name not in unreadable}
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(cached_file_hash(path).encode())
    return {
        "model speaker-embedding": encoder.model_sha256,
        "corpus": digest.hexdigest(),
        "code": code_hash(),
        **{f"sound {path.name}": value for path, value in sorted(sounds.items())},
    }
