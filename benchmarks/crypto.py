"""Seal, verify and open a clip of three seconds: ``python -m benchmarks.crypto`` is the worker."""

import json
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import sounds
from benchmarks.figures import percentile
from benchmarks.processes import worker
from listener.audio.clip import encode_clip
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.envelope import format as envelope_format
from listener.envelope import keys
from listener.envelope.open import open_envelope, parse_identities
from listener.envelope.seal import seal
from listener.envelope.verify import verify

CLIP_S: Final = 3
REPEATS: Final = 300
WARM_UP: Final = 10


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Run the worker and return its times in ms."""
    measured = worker("benchmarks.crypto")
    for what in ("seal", "verify", "open"):
        p50_ms, p99_ms = measured[f"{what}_p50_ms"], measured[f"{what}_p99_ms"]
        say(f"{what:<8}p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f}")
    return measured


def main() -> None:
    """Seal, verify and open in turns; print percentiles as JSON."""
    samples, _ = sounds.speech(CLIP_S)
    device_key = Ed25519PrivateKey.generate()
    identity = pyrage.x25519.Identity.generate()
    recipient = keys.parse_recipient(str(identity.to_public()))
    identities = parse_identities(str(identity).encode(), "a new key")
    devices, owners = {"speaker": device_key.public_key()}, {"ada": recipient}
    private = envelope_format.PrivateFields(
        word="alexa",
        model="0" * 64,
        score=0.9,
        spk=None,
        pre_ms=1500,
        ms=CLIP_S * 1000,
        rate=SAMPLE_RATE_HZ,
        end_reason="endpoint",
        boot="0" * 16,
    )
    times: dict[str, list[float]] = {"seal": [], "verify": [], "open": []}
    data = b""
    for number in range(1, REPEATS + WARM_UP + 1):
        header = envelope_format.PublicHeader(
            clip=str(uuid.uuid4()),
            device="speaker",
            dkey=keys.device_id(device_key.public_key()),
            owner="ada",
            okey=keys.owner_id(recipient),
            seq=number,
            t=envelope_format.format_timestamp(datetime.now(UTC)),
            ttl_s=86_400,
        )
        moments = [time.perf_counter()]
        # The work of hear on a complete clip: FLAC, age, signature.
        data = seal(header, private, lambda text: encode_clip(samples, text), recipient, device_key)
        moments.append(time.perf_counter())
        verify(data, devices, owners)
        moments.append(time.perf_counter())
        open_envelope(data, identities, devices, owners)
        moments.append(time.perf_counter())
        for what, (first, last) in zip(times, pairwise(moments), strict=True):
            times[what].append((last - first) * 1000)
    results: dict[str, Any] = {"envelope_bytes": len(data), "repeats": REPEATS}
    for what, all_ms in times.items():
        for percent in (50, 99):
            results[f"{what}_p{percent}_ms"] = round(percentile(all_ms[WARM_UP:], percent), 4)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
