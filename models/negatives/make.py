"""Make the negatives that train heads and fix thresholds, from a folder of recordings.

Run it with ``python -m models.negatives.make AUDIO [FOLDER]``, where AUDIO has a ``manifest.json``
that gives the licence of each recording. Only recordings in the public domain or under CC0, CC BY
or Apache-2.0 are taken, and only groups without a wake word. `SPLIT` assigns each source to the
half that trains or the half that fixes thresholds: recordings of one speaker are on one side.
Same input, same bytes.
"""

import functools
import hashlib
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli_w

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.inference.catalogue import Catalogue
from listener.storage.recordings import read_recording
from listener.train.features import Embedder
from listener.train.negatives import (
    AUGMENTED,
    PARTS,
    SOURCES,
    THRESHOLD,
    TRAIN,
    encode,
    fit_scale,
)

FOLDER: Final = Path(__file__).parent
GROUPS: Final = re.compile(r"negative/.*|noise/.*|speakers/librispeech")
"""Groups of recordings that hold no wake word."""
LICENCES: Final = re.compile(
    r"CC0|CC BY( \d\.\d)?( \(AMI\), repo MIT)?|Apache-2\.0|public domain.*"
)
"""Licences under which the features may be redistributed; the whole text must match."""

SPLIT: Final[Mapping[str, str]] = {
    "negative/librispeech/ls_2416.opus": TRAIN,
    "negative/librispeech/ls_32.opus": TRAIN,
    "negative/librispeech/ls_1737.opus": TRAIN,
    "negative/librispeech/ls_3664.opus": THRESHOLD,
    "negative/librispeech/ls_5789.opus": THRESHOLD,
    "negative/librispeech/ls_669.opus": THRESHOLD,
    "negative/other_keywords/computer.opus": TRAIN,
    "negative/other_keywords/view_glass.opus": TRAIN,
    "negative/other_keywords/snowboy.opus": THRESHOLD,
    "negative/other_keywords/smart_mirror.opus": THRESHOLD,
    "negative/meeting/ami.opus": THRESHOLD,
    "negative/mycroft_community/not_wake_words.opus": THRESHOLD,
    "negative/mycroft_community/heycomputer.opus": TRAIN,
    "noise/ambient/rain.opus": THRESHOLD,
    "noise/ambient/fireplace.opus": THRESHOLD,
    "noise/ambient/birds.opus": TRAIN,
    "noise/ambient/boat.opus": TRAIN,
    "noise/ambient/wind.opus": TRAIN,
    "noise/esc10/dog_bark.opus": TRAIN,
    "noise/esc10/rain.opus": TRAIN,
    "noise/esc10/sea_waves.opus": THRESHOLD,
    "noise/esc10/baby_cry.opus": THRESHOLD,
    "noise/esc10/clock_tick.opus": TRAIN,
    "noise/esc10/person_sneeze.opus": THRESHOLD,
    "noise/esc10/helicopter.opus": TRAIN,
    "noise/esc10/chainsaw.opus": THRESHOLD,
    "noise/esc10/rooster.opus": TRAIN,
    "noise/esc10/fire_crackling.opus": THRESHOLD,
}
"""Half of each source. Recordings of a speaker in LibriSpeech follow `SPEAKERS`."""
SPEAKERS: Final[Mapping[str, str]] = {
    "2416": TRAIN,
    "32": TRAIN,
    "1737": TRAIN,
    "3664": THRESHOLD,
    "5789": THRESHOLD,
    "669": THRESHOLD,
}
"""Half of each speaker of LibriSpeech whose clips are files of their own."""
DIVIDED: Final = "negative/speech_commands/gsc_0.opus"
"""Recording of many speakers, who are divided among both halves."""
AUGMENTED_SECONDS: Final = 1200
"""Length of the training half that is repeated in noise and through rooms."""
SEED: Final = 1
LONGEST_SAMPLES: Final = 3600 * SAMPLE_RATE_HZ
"""Limit of a recording: an hour."""


@dataclass(frozen=True, slots=True)
class Source:
    """A recording, or the stretches of one half of it."""

    name: str
    half: str
    licence: str
    origin: str
    sha256: str
    samples: Samples
    clips: tuple[str, ...] = ()
    """Source clips of these stretches, for a recording that is divided."""


def read_sources(audio: Path) -> Iterator[Source]:
    """Yield every source that may be used, in the order of the manifest.

    Raises:
        Unavailable: a recording cannot be read.
        ValueError: a recording is in no half.
    """
    manifest = json.loads((audio / "manifest.json").read_text("utf-8"))
    clips: dict[str, list[dict[str, Any]]] = {}
    for entry in (*manifest["streams"], *manifest["clips"]):
        if not GROUPS.fullmatch(entry["group"]) or not LICENCES.fullmatch(entry["licence"]):
            continue
        if entry["group"] == "speakers/librispeech":
            clips.setdefault(entry["speaker"], []).append(entry)
        elif entry["file"] == DIVIDED:
            yield from _divide(audio, entry)
        elif entry["file"] in SPLIT:
            yield _whole(audio, [entry], entry["file"], SPLIT[entry["file"]])
        else:
            raise ValueError(f"{entry['file']} is in no half: add it to SPLIT")
    for speaker, entries in sorted(clips.items()):
        yield _whole(audio, entries, f"speakers/librispeech/{speaker}", SPEAKERS[speaker])


def _whole(audio: Path, entries: Sequence[Mapping[str, Any]], name: str, half: str) -> Source:
    files = [audio / entry["file"] for entry in entries]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    samples = np.concatenate([_read(file) for file in files])
    first = entries[0]
    clips = tuple(file.name for file in files) if len(files) > 1 else ()
    return Source(name, half, first["licence"], first["source"], digest.hexdigest(), samples, clips)


def _divide(audio: Path, entry: Mapping[str, Any]) -> Iterator[Source]:
    """Yield two sources: every second speaker, in the order of their names, trains."""
    file = audio / entry["file"]
    samples, digest = _read(file), hashlib.sha256(file.read_bytes()).hexdigest()
    segments = entry["segments"]
    speakers = sorted({segment["speaker"] for segment in segments})
    starts = [round(segment["start"] * SAMPLE_RATE_HZ) for segment in segments]
    for turn, half in enumerate((TRAIN, THRESHOLD)):
        chosen = set(speakers[turn::2])
        parts, clips = [], []
        for segment, first, last in zip(segments, starts, [*starts[1:], None], strict=True):
            if segment["speaker"] in chosen:
                parts.append(samples[first:last])
                clips.append(segment["clip"])
        yield Source(
            f"{entry['file']}#{half}",
            *(half, entry["licence"], entry["source"], digest),
            np.concatenate(parts),
            tuple(clips),
        )


def _read(file: Path) -> Samples:
    return read_recording(file, LONGEST_SAMPLES)


def augment(sources: Sequence[Source], audio: Path) -> Iterator[tuple[str, Samples]]:
    """Yield stretches of the training half, through rooms and in noise of the training half."""
    noises = tuple(
        audio / name for name, half in SPLIT.items() if "noise" in name and half == TRAIN
    )
    rooms = tuple(sorted((audio / "rir").iterdir()))
    conditions = [Condition(f"{snr} dB", float(snr), noises, rooms) for snr in (5, 10, 15, 20)]
    speech = [s for s in sources if s.half == TRAIN and not s.name.startswith("noise/")]
    share = AUGMENTED_SECONDS * SAMPLE_RATE_HZ / sum(len(source.samples) for source in speech)
    mixer = Mixer()
    for turn, source in enumerate(speech):
        length = int(len(source.samples) * share)
        # From the middle, so that both ends of a recording are heard at other times.
        first = (len(source.samples) - length) // 2
        part = source.samples[first : first + length]
        choice = choose_mix(conditions[turn % len(conditions)], SEED, source.name, 0)
        mixed = list(mixer.mix(functools.partial(_play, part), choice))
        yield source.name, np.concatenate(mixed)


def _play(part: Samples) -> Iterator[Samples]:
    yield part


def make(audio: Path) -> dict[str, bytes]:
    """Return the files of the negatives by name."""
    catalogue = Catalogue(audio)
    embedder = Embedder(catalogue.embedding(), catalogue.long_embedding())
    sources = list(read_sources(audio))
    streams: dict[str, list[tuple[str, np.ndarray[Any, Any]]]] = {part: [] for part in PARTS}
    for source in sources:
        streams[source.half].append((source.name, embedder.embed(source.samples)))
    for name, samples in augment(sources, audio):
        streams[AUGMENTED].append((name, embedder.embed(samples)))
    scale = fit_scale(np.concatenate([rows for _, rows in streams[TRAIN]]))
    files = {"scale.npy": _array(scale)}
    listed: dict[str, Any] = {}
    for part in PARTS:
        rows = np.concatenate([rows for _, rows in streams[part]])
        files[f"{part}.npy"] = _array(encode(rows, scale))
        listed[part] = [{"source": name, "steps": len(rows)} for name, rows in streams[part]]
    described = [
        {
            "name": source.name,
            "half": source.half,
            "licence": source.licence,
            "origin": source.origin,
            "sha256": source.sha256,
            "seconds": round(len(source.samples) / SAMPLE_RATE_HZ, 2),
        }
        | ({"clips": list(source.clips)} if source.clips else {})
        for source in sources
    ]
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text = tomli_w.dumps(
        {"step_samples": FRAME_SAMPLES, "files": hashes, **listed, "sources": described}
    )
    return {SOURCES: text.encode(), **files}


def _array(array: Any) -> bytes:  # noqa: ANN401 - whatever numpy saves
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def main() -> None:
    """Write the files into the folder named, or beside this module."""
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER  # noqa: PLR2004 - the optional argument
    for name, data in make(Path(sys.argv[1])).items():
        (folder / name).write_bytes(data)
        print(f"{folder / name}: {len(data)} bytes")  # noqa: T201 - what was made


if __name__ == "__main__":
    main()
