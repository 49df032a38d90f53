"""Run of an evaluation of attribution by voice: speech to embeddings to rates.

Two groups of speakers take turns: the threshold, the allowed drop and the cohort come from one, and
the other is judged. Voices are enrolled as by ``earmark owner enrol``, with copies in noise and in
rooms; the threshold is calibrated, and trials are decided, by the functions that the device uses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import UsageError
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.voices.embedder import CachedEncoder
from listener.evaluate.voices.error_rates import (
    ScoreMatrix,
    Scores,
    compare_all,
    count_missing,
    curve,
    draw_households,
    equal_error,
    estimate_threshold,
    find_threshold,
    measure_equal_error,
    measure_households,
    measure_share,
)
from listener.evaluate.voices.second_voice import (
    CLIP_SAMPLES,
    MOST_CLIPS,
    OTHER_SAMPLES,
    JudgedClip,
    SecondVoice,
    compose_clips,
    measure_second_voice,
)
from listener.evaluate.voices.trials import SpeakerAudio, cut_trials, split_speech
from listener.evaluate.voices.voices_result import (
    CurvePoint,
    FixedThreshold,
    HouseholdResult,
    JudgedDirection,
    RefusedHousehold,
    SecondVoiceResult,
    SpeakerGroup,
    VerificationResult,
)
from listener.quantities import quantity
from listener.voiceprint.bystander import find_bystander, list_windows
from listener.voiceprint.enrolment import embed_sentence
from listener.voiceprint.scoring import (
    DEFAULT_DROP,
    Embedding,
    EnrolledVoice,
    calibrate_threshold,
    make_centroid,
    measure_consistency,
)
from listener.voiceprint.speech import MIN_SPEECH_SAMPLES

REFERENCE_S: Final = 2.0
"""Length of speech at which a threshold is chosen."""
REFUSED_WITHIN_DROP: Final = 0.05
"""Share of the calibration speakers' own trials that may fall below the allowed drop."""
FIXED_ACCEPTED: Final = (0.01, 0.001)
"""False acceptances at which refusals are listed for one threshold for all voices."""
FEWEST_SPEAKERS: Final = 3
"""Fewest speakers of a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationSettings:
    """What is measured."""

    conditions: tuple[Condition, ...]
    lengths_s: tuple[float, ...]
    """Lengths of speech, in seconds; `REFERENCE_S` is one of them."""
    households: tuple[int, ...]
    """Numbers of owners."""
    accepted: float
    """Share of comparisons of the calibration speakers that is above the least threshold."""
    margin: float
    seed: int


@dataclass(frozen=True, slots=True)
class VoiceGroup:
    """The speakers of one group, in the same order everywhere: owners by name, then guests."""

    name: str
    speakers: tuple[SpeakerAudio, ...]
    left_out: int
    speech_samples: int

    @property
    def owners(self) -> tuple[SpeakerAudio, ...]:
        """Speakers with enough speech to enrol; the first of all speakers."""
        return tuple(each for each in self.speakers if each.is_owner)


@dataclass(frozen=True, slots=True)
class EmbeddedGroup:
    """The embeddings of a group; the first index is the speaker's."""

    group: VoiceGroup
    recordings: tuple[tuple[Embedding, ...], ...]
    """Embeddings of each enrolment recording and its copies, of the owners."""
    centroids: tuple[Embedding, ...]
    """Voice of each owner."""
    trials: Mapping[tuple[str, float], tuple[Embedding, ...]]
    """Embeddings of the trials, shape (n, d), by condition and length."""
    windows: Mapping[str, tuple[tuple[int, SecondVoice, tuple[Embedding, ...]], ...]]
    """Speaker, kind and windows' embeddings of each clip with or without a second voice, by
    condition."""

    def matrix(self, condition: str, length_s: float) -> ScoreMatrix:
        """Return the similarities of the trials of one length under one condition."""
        return compare_all(self.trials[condition, length_s], self.centroids)


@dataclass(frozen=True, slots=True)
class Calibrator:
    """What the calibration speakers give to the judged ones."""

    name: str
    threshold: float
    drop: float
    cohort: Embedding
    fixed: tuple[tuple[float, float], ...]
    """False acceptances, and the one threshold that has them."""


def build_group(name: str, speech: Mapping[str, Sequence[Samples]]) -> VoiceGroup:
    """Return the speakers with enough speech: to enrol and to judge, or to be a guest.

    Args:
        name: name of the group.
        speech: speech of each utterance of each speaker.

    Raises:
        UsageError: there are too few who can be enrolled.
    """
    found = [split_speech(speaker, utterances) for speaker, utterances in speech.items()]
    enough = [audio for audio in found if audio is not None]
    speakers = tuple(sorted(enough, key=lambda audio: not audio.is_owner))
    owners = sum(audio.is_owner for audio in speakers)
    if owners < FEWEST_SPEAKERS:
        missing = FEWEST_SPEAKERS - owners
        raise UsageError(
            f"{name} has {quantity(owners, 'speaker')} with enough speech, and an"
            f" evaluation needs {FEWEST_SPEAKERS} of each group:"
            f" {quantity(missing, 'speaker')} missing",
            "name a corpus with the speaker of each recording, and at least 10 s of speech of each",
        )
    return VoiceGroup(
        name,
        speakers,
        len(found) - len(speakers),
        sum(len(each.judged) + sum(map(len, each.takes)) for each in speakers),
    )


def embed_group(
    group: VoiceGroup,
    settings: VerificationSettings,
    encoder: CachedEncoder,
    *,
    announce: Callable[[str], None],
    advance: Callable[[float], None],
) -> EmbeddedGroup:
    """Embed the enrolment, the trials and the clips of every speaker.

    Args:
        group: the speakers.
        settings: lengths and conditions.
        encoder: the model.
        announce: called with the name of each pass over the speakers.
        advance: called with 1 after each speaker.

    Raises:
        Unavailable: a noise or an impulse response cannot be read.
    """
    mixer = Mixer()

    def mixed(samples: Samples, condition: Condition, name: str) -> Samples:
        choice = choose_mix(condition, settings.seed, name, 0)
        return np.concatenate(list(mixer.mix(lambda: iter([samples]), choice)))

    announce(f"enrolment, {group.name}")
    recordings = []
    for audio in group.owners:
        recordings.append(
            tuple(
                embed_sentence(take, encoder.embed, seed).embeddings
                for seed, take in enumerate(audio.takes)
            )
        )
        advance(1)
    trials: dict[tuple[str, float], tuple[Embedding, ...]] = {}
    windows = {}
    for condition in settings.conditions:
        for length_s in settings.lengths_s:
            announce(f"{condition.name}, {length_s:g} s, {group.name}")
            embedded = []
            for audio in group.speakers:
                pieces = cut_trials(audio.judged, round(length_s * SAMPLE_RATE_HZ))
                vectors = [
                    encoder.embed(mixed(piece, condition, f"{audio.speaker} {length_s:g} s {at}"))
                    for at, piece in enumerate(pieces)
                ]
                embedded.append(np.stack(vectors) if vectors else np.zeros((0, 1), np.float32))
                advance(1)
            trials[condition.name, length_s] = tuple(embedded)
        if condition.rooms:
            continue  # two people of one room would need a response for each
        announce(f"{condition.name}, second voice, {group.name}")
        clips = []
        for speaker, kind, name, samples in _second_voices(group):
            sound = mixed(samples, condition, name)
            vectors = [encoder.embed(sound[first:end]) for first, end in list_windows(len(sound))]
            clips.append((speaker, kind, tuple(vectors)))
        windows[condition.name] = tuple(clips)
    centroids = tuple(make_centroid(np.concatenate(each)) for each in recordings)
    return EmbeddedGroup(group, tuple(recordings), centroids, trials, windows)


def _second_voices(group: VoiceGroup) -> Iterator[tuple[int, SecondVoice, str, Samples]]:
    """Yield owner, kind, name and samples of clips; the other voice is the next speaker's."""
    for speaker, audio in enumerate(group.owners):
        other = group.owners[(speaker + 1) % len(group.owners)]
        others = list(cut_trials(other.judged, OTHER_SAMPLES, MOST_CLIPS))
        for index, own in enumerate(cut_trials(audio.judged, CLIP_SAMPLES, MOST_CLIPS)):
            for kind, samples in compose_clips(own, others[index % len(others)]):
                yield speaker, kind, f"{audio.speaker} clip {index}", samples


def calibrate(embedded: EmbeddedGroup, settings: VerificationSettings) -> Calibrator:
    """Choose threshold, drop and cohort by one group of speakers, over all conditions."""
    strangers, drops = [], []
    typical = [measure_consistency(each) for each in embedded.recordings]
    for condition in settings.conditions:
        matrix = embedded.matrix(condition.name, REFERENCE_S)
        strangers.append(matrix.strangers)
        for speaker, own in zip(matrix.owners.tolist(), matrix.own.tolist(), strict=True):
            if (known := typical[speaker]) is not None:
                drops.append(known - own)
    scores = np.concatenate(strangers)
    quiet = embedded.trials[settings.conditions[0].name, REFERENCE_S]
    guests = [make_centroid(vectors) for vectors in quiet[len(embedded.centroids) :]]
    return Calibrator(
        name=embedded.group.name,
        threshold=estimate_threshold(scores, settings.accepted),
        drop=float(np.quantile(drops, 1 - REFUSED_WITHIN_DROP)) if drops else DEFAULT_DROP,
        cohort=np.stack([*embedded.centroids, *guests]),
        fixed=tuple((share, find_threshold(scores, share)) for share in FIXED_ACCEPTED),
    )


def judge(
    embedded: EmbeddedGroup, calibrator: Calibrator, settings: VerificationSettings
) -> JudgedDirection:
    """Judge one group of speakers by what was calibrated on the other."""
    voices = _enrol(embedded, calibrator)
    thresholds = np.array([voice.threshold for voice in voices])
    verification = []
    households = []
    guests = len(embedded.group.speakers) - len(voices)
    missing = {size: count_missing(len(voices), size, guests) for size in settings.households}
    sizes = [size for size, lacking in missing.items() if not lacking]
    drawn = {size: _form_households(embedded, calibrator, size, settings.seed) for size in sizes}
    for condition in settings.conditions:
        for length_s in settings.lengths_s:
            trials = embedded.trials[condition.name, length_s]
            if sum(map(len, trials)):
                verification.append(
                    _verify(embedded, thresholds, calibrator, settings, (condition.name, length_s))
                )
            if round(length_s * SAMPLE_RATE_HZ) < MIN_SPEECH_SAMPLES:
                continue  # no clip of less speech is attributed
            for size in sizes:
                rates = measure_households(trials, drawn[size], settings.margin, settings.seed)
                households.append(
                    HouseholdResult(
                        owners=size,
                        households=len(drawn[size]),
                        condition=condition.name,
                        length_s=length_s,
                        wrong_owner=rates.wrong_owner,
                        guests_accepted=rates.guests_accepted,
                        owners_refused=rates.owners_refused,
                    )
                )
    return JudgedDirection(
        calibrated_on=calibrator.name,
        judged_on=embedded.group.name,
        threshold=calibrator.threshold,
        drop=calibrator.drop,
        cohort=len(calibrator.cohort),
        thresholds=(
            float(thresholds.min()),
            float(np.median(thresholds)),
            float(thresholds.max()),
        ),
        verification=tuple(verification),
        households=tuple(households),
        refused_households=tuple(
            RefusedHousehold(owners=size, missing=lacking)
            for size, lacking in missing.items()
            if lacking
        ),
        second_voice=tuple(_judge_second_voice(embedded, voices, settings)),
    )


def describe_group(group: VoiceGroup) -> SpeakerGroup:
    """Return the size of a group."""
    counts = [len(each.takes) for each in group.owners]
    return SpeakerGroup(
        name=group.name,
        speakers=len(group.owners),
        guests=len(group.speakers) - len(group.owners),
        left_out=group.left_out,
        speech_s=group.speech_samples / SAMPLE_RATE_HZ,
        recordings=(min(counts), max(counts)),
    )


def _enrol(
    embedded: EmbeddedGroup, calibrator: Calibrator, members: Sequence[int] | None = None
) -> list[EnrolledVoice]:
    """Return the voices of some speakers, calibrated against the cohort and against each other.

    Args:
        embedded: all speakers.
        calibrator: threshold, drop and cohort.
        members: owners of a household; None: all owners, each alone.
    """
    centroids = embedded.centroids
    chosen = range(len(centroids)) if members is None else members
    voices = []
    for speaker in chosen:
        others = [centroids[each] for each in members or () if each != speaker]
        calibration = calibrate_threshold(
            embedded.recordings[speaker],
            calibrator.cohort,
            np.stack(others) if others else None,
            least=calibrator.threshold,
            drop=calibrator.drop,
        )
        voices.append(EnrolledVoice(centroids[speaker], calibration.threshold))
    return voices


def _form_households(
    embedded: EmbeddedGroup, calibrator: Calibrator, size: int, seed: int
) -> list[dict[str, EnrolledVoice]]:
    return [
        dict(zip(map(str, members), _enrol(embedded, calibrator, members), strict=True))
        for members in draw_households(len(embedded.recordings), size, seed)
    ]


def _verify(
    embedded: EmbeddedGroup,
    thresholds: Scores,
    calibrator: Calibrator,
    settings: VerificationSettings,
    kind: tuple[str, float],
) -> VerificationResult:
    matrix = embedded.matrix(*kind)
    refused, accepted = _decide_all(matrix, thresholds, settings.seed)
    fixed = []
    for share, threshold in calibrator.fixed:
        rates = _decide_all(matrix, np.full(len(thresholds), threshold), settings.seed)
        fixed.append(
            FixedThreshold(
                accepted=share,
                threshold=threshold,
                owners_refused=rates[0],
                strangers_accepted=rates[1],
            )
        )
    return VerificationResult(
        condition=kind[0],
        length_s=kind[1],
        equal_error=measure_equal_error(matrix, settings.seed),
        equal_error_threshold=equal_error(matrix.own, matrix.strangers)[1],
        owners_refused=refused,
        strangers_accepted=accepted,
        fixed=tuple(fixed),
        curve=tuple(
            CurvePoint(threshold=p.threshold, refused=p.refused, accepted=p.accepted)
            for p in curve(matrix)
        ),
    )


def _decide_all(matrix: ScoreMatrix, thresholds: Scores, seed: int) -> tuple[Rate, Rate]:
    """Return own trials that are refused, and comparisons with strangers that are accepted."""
    owners, stranger = matrix.owners, matrix.is_stranger
    refused = matrix.own < thresholds[owners]
    accepted = (matrix.scores >= thresholds) & stranger
    own = [owners == owner for owner in range(matrix.scores.shape[1])]
    of = [matrix.speakers == speaker for speaker in np.unique(matrix.speakers)]
    return (
        measure_share(
            [float(refused[mine].sum()) for mine in own], [int(mine.sum()) for mine in own], seed
        ),
        measure_share(
            [float(accepted[mine].sum()) for mine in of],
            [int(stranger[mine].sum()) for mine in of],
            seed,
        ),
    )


def _judge_second_voice(
    embedded: EmbeddedGroup, voices: Sequence[EnrolledVoice], settings: VerificationSettings
) -> Iterator[SecondVoiceResult]:
    for condition in settings.conditions:
        clips = [
            JudgedClip(speaker, kind, find_bystander(vectors, voices[speaker], CLIP_SAMPLES))
            for speaker, kind, vectors in embedded.windows.get(condition.name, ())
        ]
        if not clips:
            continue
        for kind in (SecondVoice.AFTER, SecondVoice.OVER):
            rates = measure_second_voice(clips, kind, len(voices), settings.seed)
            yield SecondVoiceResult(
                condition=condition.name,
                place=kind.value,
                dropped=rates.dropped,
                own_dropped=rates.own_dropped,
                left_s=rates.left_s,
                own_cut_s=rates.own_cut_s,
            )
