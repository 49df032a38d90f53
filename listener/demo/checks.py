"""What the demo claims, each claim checked against what happened."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.demo.broker import CapturedMessage
from listener.demo.player import Event
from listener.demo.scene import Scene, SpokenCue
from listener.errors import EarmarkError

_AFTER_S: Final = 0.5
"""A wake comes this late after the words at most: the model needs to have heard them."""
_MAGIC: Final = b"EARMARK/1\n"
_NOTE_BYTES: Final = 2048  # a tenth of a second of sound would not fit
_ROUNDING_S: Final = 0.09
"""One frame: what may be cut at an edge."""
_CONTAINERS: Final = (b"fLaC\0\0\0\x22", b"WAVEfmt ", b"OggS\0\2")
"""How FLAC, WAV and Ogg begin; long enough that no ciphertext has them by chance."""


class ClaimChecks:
    """Collects what did not hold. For one thread."""

    def __init__(self) -> None:
        self._broken: list[str] = []

    def check(self, claim: str, *, when: bool) -> None:
        """Note a claim and whether it holds."""
        if not when:
            self._broken.append(claim)

    def raise_on_failure(self) -> None:
        """End well when every claim held.

        Raises:
            EarmarkError: naming those that did not.
        """
        if self._broken:
            raise EarmarkError(
                f"this was not shown: {'; '.join(self._broken)}",
                "earmark demo --keep DIR leaves everything there for a look",
            )


def events_of_kind(events: Sequence[Event], kind: str) -> list[Event]:
    """Return the events of one kind."""
    return [event for event in events if event["event"] == kind]


def check_hearing(facts: ClaimChecks, scene: Scene, events: Sequence[Event], keeper: str) -> None:
    """Check what hear said against the cue sheet."""
    wakes, nears, sealed = (
        events_of_kind(events, "wake"),
        events_of_kind(events, "near_miss"),
        events_of_kind(events, "sealed"),
    )
    total: dict[str, Any] = (events_of_kind(events, "ended") or [{}])[-1]
    heard_s, muted_s = total.get("heard_s", 0.0), total.get("muted_s", 0.0)
    kept_s = total.get("discarded_s", 0.0) + total.get("sealed_s", 0.0)
    facts.check(
        "each command woke the speaker, and nothing else did",
        when=_matches(wakes, scene.wakes),
    )
    facts.check(
        "the near-sounding phrase came near and did not wake",
        when=_matches(nears, scene.near_misses),
    )
    facts.check(
        "the word said while muted was heard by nobody",
        when=bool(scene.muted_words)
        and abs(muted_s - scene.muted_s) <= 2 * _ROUNDING_S
        and not any(
            scene.muted_from_s < event["time_s"] <= scene.muted_to_s for event in (*wakes, *nears)
        ),
    )
    facts.check(
        "every second is heard or muted",
        when=abs(heard_s + muted_s - scene.length_s) <= 4 * _ROUNDING_S,
    )
    facts.check(
        "what was heard was thrown away or sealed",
        when=heard_s > 0 and abs(heard_s - kept_s) < 1 / SAMPLE_RATE_HZ,
    )
    facts.check(
        "each wake gave one clip, and each clip has one owner",
        when=len(sealed) == len(wakes) and all(event["owner"] == keeper for event in sealed),
    )


def check_disk(facts: ClaimChecks, root: Path) -> None:
    """Check that no file of the households holds sound in the clear."""
    facts.check(
        "no sound lies in the clear",
        when=not any(container in data for data in _contents(root) for container in _CONTAINERS),
    )


def check_wire(
    facts: ClaimChecks, passed: Sequence[CapturedMessage], sealed: int, owners: Sequence[str]
) -> None:
    """Check what the broker's operator could read."""
    clips = [one for one in passed if one.is_clip]
    others = [one for one in passed if not one.is_clip]
    facts.check("the broker carried each clip", when=len(clips) >= sealed > 0)
    facts.check(
        "what the broker carried was sealed",
        when=all(one.payload.startswith(_MAGIC) for one in clips)
        and not any(container in one.payload for one in passed for container in _CONTAINERS),
    )
    facts.check(
        "what else the broker carried was small and named nobody",
        when=all(
            len(one.payload) <= _NOTE_BYTES
            and not any(f'"{owner}"'.encode() in one.payload for owner in owners)
            for one in others
        ),
    )


def check_sound(
    facts: ClaimChecks, scene: Scene, sealed: Sequence[Event], files: Sequence[Path]
) -> None:
    """Check that the opened clips hold what was said then, sample for sample."""
    said = _samples(scene.file)
    same = 0
    for event in sealed:
        first = round(event["time_s"] * SAMPLE_RATE_HZ)
        length = round(event["length_s"] * SAMPLE_RATE_HZ)
        for file in files:
            if file.stem == event["clip"]:
                same += np.array_equal(_samples(file), said[first : first + length])
    facts.check("what is opened is what was said", when=same == len(sealed) == len(files))


def relabel(envelope: bytes, **label: str) -> bytes:
    """Return a copy of an envelope whose label says something else: the mistake of 2018.

    Args:
        envelope: a sealed clip.
        label: what its public header says instead.
    """
    magic, header, rest = envelope.split(b"\n", 2)
    other = json.dumps(json.loads(header) | label, sort_keys=True, separators=(",", ":"))
    return b"\n".join([magic, other.encode("ascii"), rest])


def _matches(events: Sequence[Event], cues: Sequence[SpokenCue]) -> bool:
    return len(events) == len(cues) and all(
        cue.from_s < event["time_s"] <= cue.to_s + _AFTER_S
        for event, cue in zip(events, cues, strict=True)
    )


def _samples(path: Path) -> Samples:
    samples: Samples = soundfile.read(path, dtype="int16")[0]
    return samples


def _contents(root: Path) -> Iterator[bytes]:
    for path in root.rglob("*"):
        if path.is_file():
            yield path.read_bytes()
