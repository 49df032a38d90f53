import subprocess
import sys
from pathlib import Path

from listener.audio.clip import encode_clip
from listener.config import ClipSettings
from listener.selftest.memory import snapshot_memory
from listener.selftest.setup import set_up
from listener.selftest.watermark import ENCODED, Watermark


def test_leaky_listener_keeps_audio_after_clearing(tmp_path: Path) -> None:
    marked = Watermark(8)
    sound = marked.signal(0, 2_000)
    marked.expect(encode_clip(sound, "control"))
    path = set_up(tmp_path, ClipSettings()).write_sound("sound.wav", sound)
    log = tmp_path / "log"
    words = [sys.executable, "-m", "listener.selftest.leaky_listener", str(path), str(log)]

    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as control:
        assert control.stdout is not None
        said = control.stdout.readline()
        seen = snapshot_memory(control.pid).scan(marked)
        control.communicate()

    assert said == b"forgotten\n"
    assert control.returncode == 0
    assert {"float32", ENCODED} <= set(seen.found.blocks)
    assert marked.find(log.read_bytes()).count == 2_000
