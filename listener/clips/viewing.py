"""``earmark clips list`` and ``play``: look at clips, and into them, where the owner's key is."""

import argparse
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import soundfile

from listener.clips.answers import ListedClip
from listener.clips.desk import Session
from listener.envelope.open import OpenedClip
from listener.errors import BadEnvelope, EarmarkError, NotForYou, Unavailable, UsageError
from listener.storage.owner_files import write_new


def show_clips(arguments: argparse.Namespace, desk: Session) -> int:
    """List the clips, opened where that is asked for.

    Returns:
        0; 1 when a clip could not be opened.

    Raises:
        EarmarkError: the archive says no, or does not answer.
    """
    failed = 0
    for clip in desk.list_clips(arguments):
        row: dict[str, Any] = msgspec.to_builtins(clip)
        if arguments.open:
            try:
                row |= private_fields(fetch_clip(desk, clip.clip, clip))
            except (BadEnvelope, NotForYou) as error:
                failed += 1
                row["closed"] = str(error)
        print(json.dumps(row) if arguments.json else _as_text(row), flush=True)
    return 1 if failed else 0


def play_clip(arguments: argparse.Namespace, desk: Session) -> int:
    """Let a clip be heard, or write it.

    Raises:
        EarmarkError: the archive says no, or nothing here plays.
    """
    player = None
    if arguments.to is None:
        player = shutil.which("aplay")
        if player is None:
            raise Unavailable(
                "nothing here plays sound: aplay is not installed",
                "--to FILE.flac writes it; --to - hands it on, to any player",
            )
    elif arguments.to == "-" and sys.stdout.isatty():
        raise UsageError("a terminal plays no FLAC", "--to FILE.flac, or a pipe")
    opened = fetch_clip(desk, arguments.clip)
    if player is not None:
        _play(player, opened.flac)
    elif arguments.to == "-":
        sys.stdout.buffer.write(opened.flac)
        return 0
    else:
        write_new(Path(arguments.to), opened.flac)
    told = msgspec.to_builtins(opened.header) | private_fields(opened) | {"file": arguments.to}
    print(json.dumps(told) if arguments.json else _as_text(told))
    return 0


def fetch_clip(desk: Session, clip: str, listed: ListedClip | None = None) -> OpenedClip:
    """Fetch a clip and open it here.

    Raises:
        BadEnvelope: it is not that clip, or not one of hers that a known speaker made.
        NotForYou: it is sealed to a key that is not in the identity.
        EarmarkError: the archive says no, or does not answer.
    """
    opened = desk.open(desk.asker.get_envelope(clip))
    header = opened.header
    if header.clip != clip:
        raise BadEnvelope("the archive handed out another clip than the one asked for")
    if listed is not None and (listed.t, listed.device) != (header.t, header.device):
        raise BadEnvelope("the archive's list says something else than the clip")
    return opened


def private_fields(opened: OpenedClip) -> dict[str, Any]:
    """Return what only the owner can read."""
    return dict(msgspec.to_builtins(opened.private))


def _as_text(row: dict[str, Any]) -> str:
    words = [row["t"], row["device"], row["clip"]]
    if "size_bytes" in row:
        words.append(f"{row['size_bytes']} B")
    if "word" in row:
        words.append(f"{row['word']} at {row['score']:.2f}, {row['ms'] / 1000:.1f} s")
    if "closed" in row:
        words.append(f"closed: {row['closed']}")
    return "  ".join(words)


def _play(player: str, flac: bytes) -> None:
    samples, rate_hz = soundfile.read(io.BytesIO(flac), dtype="int16")
    wave = io.BytesIO()
    soundfile.write(wave, samples, rate_hz, format="WAV")
    done = subprocess.run(  # noqa: S603 - found on the path; the sound goes through a pipe
        [player, "-q", "-"], input=wave.getvalue(), stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise EarmarkError(
            "aplay could not play it", "is a loudspeaker there? --to FILE.flac writes the clip"
        )
