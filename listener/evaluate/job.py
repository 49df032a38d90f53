"""Work on one item: played under every condition and scored by every engine.

``evaluate_item`` runs in worker processes on this or other machines; its arguments and its result
can be pickled. The result has no scores, so memory does not grow with the corpus.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.errors import EarmarkError
from listener.evaluate.corpus.augmentation import Condition, MixChoice, Mixer, choose_mix
from listener.evaluate.corpus.items import Item
from listener.evaluate.corpus.playback import PlayableItem, list_phases
from listener.evaluate.corpus.stream import StreamItem, open_playable
from listener.evaluate.engines.cache import ScoreCache
from listener.evaluate.engines.interface import Engine, EngineRecipe, ScoreTrack
from listener.evaluate.engines.provenance import MIXING, STREAMING, code_hash, digest_values
from listener.evaluate.metrics.matching import MatchRule, PlayedItem, TakeReport, word_report
from listener.evaluate.plan import EngineSettings
from listener.wakeword.detector import Rule


@dataclass(frozen=True, slots=True)
class Job:
    """Settings of the work on each item."""

    recipes: tuple[EngineRecipe, ...]
    settings: tuple[EngineSettings, ...]
    """Settings of each engine; ``thresholds`` has every word."""
    conditions: tuple[Condition, ...]
    sound_hashes: Mapping[Path, str]
    """SHA-256 of every noise and impulse response."""
    thresholds: tuple[Mapping[tuple[str, str], float], ...]
    """Thresholds of each engine, by condition and word."""
    plays: int
    channel: int
    seed: int
    tail_s: float
    cache: Path | None
    """Folder of the score cache; None: no cache."""


@dataclass(frozen=True, slots=True)
class ItemReport:
    """Result of the work on one item."""

    item: Item
    file_hash: str = ""
    takes: tuple[TakeReport, ...] = ()
    faults: tuple[str, ...] = ()
    """Reasons why the item, or some of its plays, are not counted."""
    cache_fault: str | None = None
    """Reason why scores could not be cached; the counts are complete."""


def evaluate_item(job: Job, item: Item, engines: tuple[int, ...] | None = None) -> ItemReport:
    """Play and score an item, and count its events.

    Expected errors are returned in the report, so that the other items continue.

    Args:
        job: settings of the work.
        item: an item or a stream.
        engines: indices of the engines; None: all.
    """
    limit_threads()
    try:
        playable, sha256 = open_playable(item, job.channel)
    except EarmarkError as error:
        return ItemReport(item, faults=(str(error),))
    tracks = _Tracks(job, playable, sha256)
    takes: list[TakeReport] = []
    faults: list[str] = []
    for engine in range(len(job.recipes)) if engines is None else engines:
        for condition in range(len(job.conditions)):
            try:
                name = job.conditions[condition].name
                takes += [
                    _build_report(
                        job, PlayedItem(item, name, play), track, engine=engine, condition=condition
                    )
                    for play, track in tracks.of(engine, job.conditions[condition])
                ]
            except EarmarkError as error:
                where = f"{job.recipes[engine].name}, {job.conditions[condition].name}"
                faults.append(f"{where}: {error}")
    # A fault of the file affects every play: report it once. Of a part of the engines this is not
    # known here.
    if (
        engines is None
        and faults
        and not takes
        and len({fault.partition(": ")[2] for fault in faults}) == 1
    ):
        faults = [faults[0].partition(": ")[2]]
    return ItemReport(item, sha256, tuple(takes), tuple(faults), tracks.cache_fault)


@functools.lru_cache(maxsize=1)
def limit_threads() -> object:
    """Limit the numeric libraries of this process to one thread: a worker has one core."""
    return threadpool_limits(1)


@functools.lru_cache(maxsize=8)
def get_engine(recipe: EngineRecipe) -> Engine:
    """Return the engine of a recipe; each process builds it once."""
    return recipe.build()


def build_item_rule(
    settings: EngineSettings, threshold: float, step_samples: int, word: str = ""
) -> Rule:
    """Return the trigger rule of a word for scores at intervals of ``step_samples``."""
    steps_per_frame = FRAME_SAMPLES / step_samples
    patience_frames = settings.patience_frames or settings.patience.get(word, 1)
    return Rule(
        threshold=threshold,
        # With two steps per frame, two successive frames are three successive steps.
        patience_steps=round((patience_frames - 1) * steps_per_frame) + 1,
        refractory_samples=round(settings.refractory_s * SAMPLE_RATE_HZ),
        near_miss_threshold=settings.near_miss_threshold,
    )


class _Tracks:
    """Score tracks of one item, from the cache or from the engines."""

    def __init__(self, job: Job, playable: PlayableItem, sha256: str) -> None:
        self._job = job
        self._playable = playable
        self._sha256 = sha256
        self._cache = ScoreCache(job.cache) if job.cache else None
        self._mixer = Mixer()
        self.cache_fault: str | None = None

    def of(self, engine: int, condition: Condition) -> Iterator[tuple[int, ScoreTrack]]:
        """Yield the index of each play with its track.

        Raises:
            EarmarkError: audio, noise or impulse response cannot be read; the engine cannot run.
        """
        job = self._job
        for play, phase in enumerate(list_phases(job.plays)):
            choice = choose_mix(condition, job.seed, self._playable.item.name, play)
            key = self._key(job.recipes[engine], choice, phase)
            track = self._cache.load(key) if self._cache else None
            if track is None:
                track = self._score(job.recipes[engine], choice, phase)
                self._store(key, track)
            yield play, track

    def _score(self, recipe: EngineRecipe, choice: MixChoice, phase: int) -> ScoreTrack:
        sound = self._mixer.mix(lambda: self._playable.play(phase), choice)
        track = get_engine(recipe).track(sound)
        return replace(
            track,
            first_end_sample=track.first_end_sample + phase,
            length_samples=track.length_samples + phase,
            clipped_samples=self._mixer.clipped_samples,
        )

    def _store(self, key: str, track: ScoreTrack) -> None:
        if self._cache is None or self.cache_fault is not None:
            return
        try:
            self._cache.store(key, track)
        except OSError as error:
            self.cache_fault = error.strerror or str(error)

    def _key(self, recipe: EngineRecipe, choice: MixChoice, phase: int) -> str:
        item, hashes = self._playable.item, self._job.sound_hashes
        return digest_values(
            "scores",
            recipe.key,
            _mixing_code(),
            self._sha256,
            (item.start_s, self._playable.length_samples, self._job.channel, phase),
            hashes.get(choice.noise) if choice.noise else None,
            hashes.get(choice.room) if choice.room else None,
            (choice.noise_at, choice.snr_db, choice.speech_dbov),
            *((_stream_code(),) if isinstance(item, StreamItem) else ()),
        )


@functools.lru_cache(maxsize=1)
def _mixing_code() -> str:
    return code_hash(MIXING)


@functools.lru_cache(maxsize=1)
def _stream_code() -> str:
    return code_hash(STREAMING)


def _build_report(
    job: Job, play: PlayedItem, track: ScoreTrack, *, engine: int, condition: int
) -> TakeReport:
    settings = job.settings[engine]
    words = [
        word_report(
            play,
            track,
            MatchRule(
                word,
                settings.said.get(word, word),
                build_item_rule(
                    settings,
                    job.thresholds[engine][play.condition, word],
                    track.step_samples,
                    word,
                ),
                job.tail_s,
            ),
        )
        for word in track.words
    ]
    return TakeReport(
        engine, condition, play.number, track.length_samples, track.clipped_samples, tuple(words)
    )
