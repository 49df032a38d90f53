"""Peak resident memory of the real ``earmark hear`` and ``earmark send`` processes."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import soundfile

from benchmarks import sounds
from benchmarks.processes import earmark, mosquitto, peak_rss_mib, running, write_home
from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import Unavailable

HEARD_S: Final = 20
POLL_S: Final = 0.01


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Run hear in real time and send beside it; return their peak memory in MiB.

    Args:
        say: called with each line of progress.

    Raises:
        Unavailable: a process exited early, or no clip was sealed.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        samples, _ = sounds.speech(HEARD_S)
        sound = folder / "speech.wav"
        soundfile.write(sound, samples, SAMPLE_RATE_HZ)
        with mosquitto(folder) as port:
            settings = write_home(folder, port)
            with running(earmark("send", "--config", str(settings))) as send:
                say(f"hear listens for {HEARD_S} s in real time")
                hear_mib = _hear(settings, sound)
                time.sleep(1)
                send_mib = peak_rss_mib(send.pid)
                if send.poll() is not None or send_mib is None:
                    raise Unavailable("earmark send exited early")
            sealed = len(list((folder / "home" / "spool").glob("*.earmark")))
            settings.write_text(
                settings.read_text("utf-8") + "[wake]\nfirst_stage = true\n", "utf-8"
            )
            say(f"hear listens with the first stage for {HEARD_S} s in real time")
            staged_mib = _hear(settings, sound)
            staged = len(list((folder / "home" / "spool").glob("*.earmark"))) - sealed
    if not sealed or staged != sealed:
        raise Unavailable("hear sealed no clip, or fewer with the first stage: a peak is too low")
    say(
        f"hear {hear_mib:.1f} MiB, with the first stage {staged_mib:.1f} MiB, send {send_mib:.1f}"
        f" MiB, {sealed} clips sealed"
    )
    return {
        "hear_mib": round(hear_mib, 1),
        "hear_stages_mib": round(staged_mib, 1),
        "send_mib": round(send_mib, 1),
        "sealed": sealed,
    }


def _hear(settings: Path, sound: Path) -> float:
    peak_mib = 0.0
    with running(earmark("hear", "--config", str(settings), "--microphone", str(sound))) as hear:
        while hear.poll() is None:
            peak_mib = max(peak_mib, peak_rss_mib(hear.pid) or 0)
            time.sleep(POLL_S)
        if hear.returncode:
            raise Unavailable(f"earmark hear exited with code {hear.returncode}")
    return peak_mib
