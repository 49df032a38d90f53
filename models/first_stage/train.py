"""Train the first stage: one student of the embedding network for every word that is shipped.

Run it with ``python -m models.first_stage.train AUDIO [FOLDER]``. AUDIO is a folder of recordings
with a ``manifest.json``; only its recordings without a wake word are used, and those by the split
of ``models/negatives``: one half trains, the other half fixes the bounds. Words are spoken by the
voice engines of this machine. The labels are the embeddings of the embedding network; no output of
any wake word's head trains anything. Same engines, same recordings, same machine: same bytes.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import default_rng

from listener.audio.pcm import Samples
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.inference.catalogue import Catalogue
from listener.train.acoustics import Surroundings, read_surroundings
from listener.train.bounds import WEIGHTS
from listener.train.clips import (
    ClipRequest,
    LabelledStretch,
    SyntheticClip,
    place_clips,
    plan_clips,
    speak_clips,
)
from listener.train.negatives import TRAIN
from listener.train.phrase import parse_phrase
from listener.train.student import Schedule, TeacherStream, train_student
from listener.train.teacher import Teacher
from listener.train.texts import make_sentences
from listener.train.voices.engine import VoiceEngine
from listener.train.voices.registry import find_engines
from listener.train.voices.synthesis import SyntheticSpeech, derive_generator, resample_speech
from listener.wakeword.student import read_weights, write_weights
from models.negatives.make import SPLIT, Source, read_sources

FOLDER: Final = Path(__file__).parents[1] / "first-stage"
SPOKEN: Final[Mapping[str, tuple[str, ...]]] = {
    "alexa": ("alexa", "alexa", "hey alexa"),
    "hey-jarvis": ("hey jarvis", "jarvis"),
    "hey-lumen": ("hey lumen",),
    "hey-marvin": ("hey marvin",),
    "hey-mycroft": ("hey mycroft",),
    "timer": (
        "set a ten minute timer",
        "set a five minute timer",
        "set a one minute timer",
        "set a thirty minute timer",
        "set a timer for one hour",
    ),
    "weather": ("what's the weather", "tell me the weather", "what is the weather today"),
}
"""What the voices say for each word."""
CLIPS: Final = 420
"""Clips of each word."""
ENGINES: Final = (
    *("espeak-ng", "kokoro", "piper", "espeak-ng", "flite", "piper", "espeak-ng"),
    *("festival", "piper", "espeak-ng", "kokoro", "flite", "piper", "espeak-ng"),
)
"""Voice engines in turn; one that is not installed is left out."""
COPIES: Final = 3
"""Stretches of each clip: other vocal tracts, rooms, noises and levels."""
SENTENCES: Final = (
    "the quick brown fox jumps over the lazy dog",
    "please remember to buy some milk on the way home",
    "i left the keys on the table next to the door",
    "how long does it take to get there by train",
    "turn the lights off in the living room",
    "she said that the meeting starts at nine",
    "there is nothing good on the television tonight",
    "can you help me move this chair upstairs",
    "a lexus and an election are quite different things",
    "hey jasmine, did you see my car",
    "hey martin, give me a minute",
    "the service at the harvest festival was marvellous",
)
"""Other speech of the same voices."""
SENTENCE_TEXTS: Final = 160
"""More sentences, half of them words at random."""
SENTENCE_CLIPS: Final = 168
AUGMENTATIONS: Final = 2
"""Times that the recorded speech is repeated in rooms and noise, by other vocal tracts."""
BATCHES: Final = 8000
"""Batches of each round."""
RATES: Final = (3e-3, 1.5e-3)
"""Highest learning rate of each round, which falls to almost 0; a round starts with the weights of
the one before, in 16 bits."""
SEED: Final = 1
_NOISE_DB: Final = (0.0, 5.0, 10.0, 15.0, 20.0)
_LOUDEST_DBOV: Final = -12.0
_FAINTEST_DBOV: Final = -50.0
_TRACTS: Final = (0.88, 1.14)
"""Range of the factor by which each stretch is resampled, besides what the engine does."""
_FAINT_SHARE: Final = 0.3
_FAINT_DB: Final = (-20.0, -3.0)
"""Attenuation of a part of the stretches, besides their random level."""
_COMPLETE: Final = "complete"


def make_streams(
    audio: Path, engines: tuple[VoiceEngine, ...]
) -> Iterator[tuple[str, Callable[[], TeacherStream]]]:
    """Yield the name of each training stream, and what makes it.

    Args:
        audio: the folder of recordings.
        engines: voices, at least one.

    Raises:
        Unavailable: an engine failed, or a recording cannot be read.
    """
    catalogue = Catalogue(audio)
    teacher = Teacher(catalogue.embedding(), catalogue.long_embedding())
    sources = [source for source in read_sources(audio) if source.half == TRAIN]
    noises = tuple(
        audio / name for name, half in SPLIT.items() if half == TRAIN and name.startswith("noise/")
    )
    rooms = tuple(sorted((audio / "rir").iterdir()))
    talk = [s.samples for s in sources if "librispeech" in s.name]
    surroundings = read_surroundings(talk, noises, rooms)
    found = {engine.name for engine in engines}
    names = [name for name in ENGINES if name in found]
    for number, (word, texts) in enumerate(SPOKEN.items()):
        plan = plan_clips("word", texts, names, CLIPS)
        yield word, partial(_speak, teacher, plan, engines, surroundings, SEED + number, COPIES)
    phrase = parse_phrase("alexa")
    texts = (*SENTENCES, *make_sentences(phrase, SENTENCE_TEXTS))
    plan = plan_clips("sentence", texts, names, SENTENCE_CLIPS)
    yield "sentences", partial(_speak, teacher, plan, engines, surroundings, SEED, 1)
    for number, source in enumerate(sources):
        yield f"recording-{number}", partial(teacher.teach, source.samples)
    for number, samples in enumerate(_augment(sources, noises, rooms)):
        yield f"augmented-{number}", partial(teacher.teach, samples)


def _speak(  # noqa: PLR0913, PLR0917 - what makes the stretches
    teacher: Teacher,
    plan: tuple[ClipRequest, ...],
    engines: tuple[VoiceEngine, ...],
    surroundings: Surroundings,
    seed: int,
    copies: int,
) -> TeacherStream:
    clips = vary_clips(speak_clips(plan, engines, seed), seed, copies)
    stretches = place_clips(clips, surroundings, seed, copies=1)
    return teacher.teach_stretches(fade_stretches(stretches, seed))


def vary_clips(clips: Iterable[SyntheticClip], seed: int, copies: int) -> Iterator[SyntheticClip]:
    """Yield copies of each clip by other vocal tracts, each with a number of its own.

    Args:
        clips: the clips.
        seed: seed of the training.
        copies: copies of each clip.
    """
    for clip in clips:
        request, speech = clip.request, clip.speech
        for copy in range(copies):
            number = request.number * copies + copy
            random = derive_generator(seed, "tract", request.kind, request.engine, number)
            factor = float(random.uniform(*_TRACTS))
            samples = resample_speech(speech.samples, factor)
            end = min(round(speech.end * len(samples) / len(speech.samples)), len(samples))
            yield SyntheticClip(
                replace(request, number=number), SyntheticSpeech(samples, speech.voice, end)
            )


def fade_stretches(stretches: Iterable[LabelledStretch], seed: int) -> Iterator[LabelledStretch]:
    """Yield stretches, a part of them attenuated.

    Args:
        stretches: the stretches.
        seed: seed of the training.
    """
    random = derive_generator(seed, "fade")
    for stretch in stretches:
        gain_db = random.uniform(*_FAINT_DB) if random.random() < _FAINT_SHARE else 0.0
        samples = np.rint(stretch.samples * 10 ** (gain_db / 20)).astype(np.int16)
        yield replace(stretch, samples=samples)


def _augment(
    sources: list[Source], noises: tuple[Path, ...], rooms: tuple[Path, ...]
) -> Iterator[Samples]:
    """Yield the speech of the training half in rooms and noise, at other levels and pitches."""
    random = default_rng(SEED)
    mixer = Mixer()
    for play_number in range(AUGMENTATIONS):
        for source in sources:
            if source.name.startswith("noise/"):
                continue
            snr_db = float(random.choice(_NOISE_DB))
            level = float(random.uniform(_FAINTEST_DBOV, _LOUDEST_DBOV))
            in_room = rooms if random.random() < 1 / 2 else ()
            samples = resample_speech(source.samples, float(random.uniform(*_TRACTS)))
            condition = Condition(f"{snr_db}", snr_db, noises, in_room, level)
            choice = choose_mix(condition, SEED, source.name, play_number)
            yield np.concatenate(list(mixer.mix(partial(play, samples), choice)))


def play(samples: Samples) -> Iterator[Samples]:
    """Yield a recording as one block."""
    yield samples


def keep_stream(file: Path, make: Callable[[], TeacherStream]) -> TeacherStream:
    """Return the stream in a file; make and write it if there is none."""
    if not file.is_file():
        stream = make()
        fresh = file.with_suffix(".new.npz")
        np.savez(fresh, mel=stream.mel, embeddings=stream.embeddings, words=stream.word_steps)
        fresh.replace(file)
    return _load(file)


def _load(file: Path) -> TeacherStream:
    with np.load(file) as arrays:
        return TeacherStream(arrays["mel"], arrays["embeddings"], arrays["words"])


def read_streams(folder: Path) -> dict[str, TeacherStream] | None:
    """Return the streams of a folder by name; None unless all of them are there."""
    if not (folder / _COMPLETE).is_file():
        return None
    names = (folder / _COMPLETE).read_text("utf-8").split()
    return {name: _load(folder / f"{name}.npz") for name in names}


def read_or_make_streams(arguments: argparse.Namespace) -> dict[str, TeacherStream]:
    """Return the streams by name; make those that are missing.

    Args:
        arguments: those of `add_stream_options`.
    """
    streams = read_streams(arguments.streams)
    return make_all(arguments) if streams is None else streams


def make_all(arguments: argparse.Namespace) -> dict[str, TeacherStream]:
    """Make the streams that are missing; return all by name."""
    engines, missing = find_engines(arguments.home)
    for engine in missing:
        say(f"not used: {engine.name}: {engine.reason}")
    folder: Path = arguments.streams
    folder.mkdir(parents=True, exist_ok=True)
    streams = {}
    for name, make in make_streams(arguments.audio, engines):
        streams[name] = keep_stream(folder / f"{name}.npz", make)
        say(f"{name}: {len(streams[name].mel)} steps")
    (folder / _COMPLETE).write_text("\n".join(streams), "utf-8")
    return streams


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where recordings, voices and streams are."""
    parser.add_argument("audio", type=Path, help="folder of recordings with manifest.json")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="where to write")
    parser.add_argument("--home", type=Path, default=Path(), help="data directory with voices")
    parser.add_argument(
        "--streams",
        type=Path,
        default=Path("build/first-stage"),
        help="folder that keeps streams and rounds, so that an ended run continues",
    )


def main() -> None:
    """Train, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_stream_options(parser)
    parser.add_argument("--batches", type=int, default=BATCHES)
    arguments = parser.parse_args()
    started = time.monotonic()
    streams = list(read_or_make_streams(arguments).values())
    steps = sum(len(stream.mel) for stream in streams)
    words = sum(len(stream.word_steps) for stream in streams)
    say(f"{steps * 0.08 / 3600:.2f} h, {words} words, {time.monotonic() - started:.0f} s")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    file: Path = arguments.folder / WEIGHTS
    start = None
    for number, rate in enumerate(RATES):
        kept = arguments.streams / f"round-{number}.npy"
        if not kept.is_file():
            weights = train_student(
                streams,
                Schedule(arguments.batches, rate),
                default_rng(SEED + number),
                start,
                _reporter(),
            )
            kept.write_bytes(write_weights(weights))
        start = read_weights(kept.read_bytes(), kept.name)
        file.write_bytes(kept.read_bytes())


def _reporter() -> Callable[[int, float], None]:
    """Return what prints the mean loss of each hundred batches."""
    losses: list[float] = []
    started = time.monotonic()

    def report(batch: int, loss: float) -> None:
        losses.append(loss)
        if not batch % 100:
            mean = sum(losses[-100:]) / 100
            say(f"batch {batch} loss {mean:.4f} {time.monotonic() - started:.0f} s")

    return report


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, flush=True)  # noqa: T201 - progress of a program


if __name__ == "__main__":
    main()
