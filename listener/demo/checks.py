"""Checks of the demo's claims against events, files and messages."""

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
"""Longest delay of a wake after the words, in seconds."""
_MAGIC: Final = b"EARMARK/1\n"
_NOTE_BYTES: Final = 2048  # less than a tenth of a second of audio
_ROUNDING_S: Final = 0.09
"""One frame, which may be cut at an edge, in seconds."""
_CONTAINERS: Final = (b"fLaC\0\0\0\x22", b"WAVEfmt ", b"OggS\0\2")
"""Signatures of FLAC, WAV and Ogg files, long enough not to occur in ciphertext by chance."""


class ClaimChecks:
    """Collector of claims that do not hold. For one thread."""

    def __init__(self) -> None:
        self._failed: list[str] = []

    def check(self, claim: str, *, when: bool) -> None:
        """Record a claim if it does not hold.

        Args:
            claim: a statement, for the error.
            when: True if it holds.
        """
        if not when:
            self._failed.append(claim)

    def raise_on_failure(self) -> None:
        """Raise an error unless every claim held.

        Raises:
            EarmarkError: names the claims that do not hold.
        """
        if self._failed:
            raise EarmarkError(
                f"the demo did not show that: {'; '.join(self._failed)}",
                "run earmark demo --keep DIR to keep the files and logs",
            )


def events_of_kind(events: Sequence[Event], kind: str) -> list[Event]:
    """Return the events of one kind."""
    return [event for event in events if event["event"] == kind]


def check_hearing(facts: ClaimChecks, scene: Scene, events: Sequence[Event], keeper: str) -> None:
    """Check hear's events against the cue sheet."""
    wakes, nears, sealed = (
        events_of_kind(events, "wake"),
        events_of_kind(events, "near_miss"),
        events_of_kind(events, "sealed"),
    )
    total: dict[str, Any] = (events_of_kind(events, "ended") or [{}])[-1]
    heard_s, muted_s = total.get("heard_s", 0.0), total.get("muted_s", 0.0)
    kept_s = total.get("discarded_s", 0.0) + total.get("sealed_s", 0.0)
    facts.check(
        "each command woke the speaker, and nothing else did so",
        when=has_matching_wakes(wakes, scene.wakes),
    )
    facts.check(
        "the near-sounding phrase came near and did not wake",
        when=has_matching_wakes(nears, scene.near_misses),
    )
    facts.check(
        "the wake word spoken while muted was not detected",
        when=bool(scene.muted_words)
        and abs(muted_s - scene.muted_s) <= 2 * _ROUNDING_S
        and not any(
            scene.muted_from_s < event["time_s"] <= scene.muted_to_s for event in (*wakes, *nears)
        ),
    )
    facts.check(
        "every second was heard or muted",
        when=abs(heard_s + muted_s - scene.length_s) <= 4 * _ROUNDING_S,
    )
    facts.check(
        "all audio was discarded or sealed",
        when=heard_s > 0 and abs(heard_s - kept_s) < 1 / SAMPLE_RATE_HZ,
    )
    facts.check(
        "each wake gave one clip with one owner",
        when=len(sealed) == len(wakes) and all(event["owner"] == keeper for event in sealed),
    )


def check_disk(facts: ClaimChecks, root: Path) -> None:
    """Check that no file below a folder holds unencrypted audio."""
    facts.check(
        "no file holds unencrypted audio",
        when=not any(container in data for data in _contents(root) for container in _CONTAINERS),
    )


def check_wire(
    facts: ClaimChecks, passed: Sequence[CapturedMessage], sealed: int, owners: Sequence[str]
) -> None:
    """Check the messages that the broker's operator could read.

    Args:
        facts: receives the claims.
        passed: all messages.
        sealed: number of sealed clips.
        owners: names that may not occur outside of clips.
    """
    clips = [message for message in passed if message.is_clip]
    others = [message for message in passed if not message.is_clip]
    facts.check("the broker carried each clip", when=len(clips) >= sealed > 0)
    facts.check(
        "every clip that the broker carried was sealed",
        when=all(message.payload.startswith(_MAGIC) for message in clips)
        and not any(
            container in message.payload for message in passed for container in _CONTAINERS
        ),
    )
    facts.check(
        "all other messages were small and named no owner",
        when=all(
            len(message.payload) <= _NOTE_BYTES
            and not any(f'"{owner}"'.encode() in message.payload for owner in owners)
            for message in others
        ),
    )


def check_sound(
    facts: ClaimChecks, scene: Scene, sealed: Sequence[Event], files: Sequence[Path]
) -> None:
    """Check that the opened clips equal the scene, sample for sample."""
    original = _samples(scene.file)
    same = 0
    for event in sealed:
        first = round(event["time_s"] * SAMPLE_RATE_HZ)
        length = round(event["length_s"] * SAMPLE_RATE_HZ)
        for file in files:
            if file.stem == event["clip"]:
                same += np.array_equal(_samples(file), original[first : first + length])
    facts.check("the opened clips equal the recording", when=same == len(sealed) == len(files))


def relabel(envelope: bytes, **label: str) -> bytes:
    """Return a copy of an envelope with changed fields in its public header.

    Args:
        envelope: a sealed clip.
        label: the fields and their new values.
    """
    magic, header, rest = envelope.split(b"\n", 2)
    other = json.dumps(json.loads(header) | label, sort_keys=True, separators=(",", ":"))
    return b"\n".join([magic, other.encode("ascii"), rest])


def has_matching_wakes(events: Sequence[Event], cues: Sequence[SpokenCue]) -> bool:
    """Return whether there is one event for each cue, during it or just after its end."""
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
