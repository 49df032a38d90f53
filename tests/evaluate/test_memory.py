"""Memory stays the same, however long the corpus and however long a file is."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import Samples
from listener.evaluate.engines.interface import Engine, ScoreTrack
from listener.evaluate.pool import Processes
from listener.evaluate.runner import Evaluation
from tests.evaluate.spoken import plan

pytestmark = pytest.mark.system  # whole runs, weighed

MIB = 1 << 20


class Deaf:
    """Scores nothing, at once."""

    words = ("alexa",)
    thresholds: Mapping[str, float] = {"alexa": 0.5}
    patience_frames: Mapping[str, int] = {}

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        length = sum(map(len, blocks))
        return ScoreTrack(self.words, np.zeros((length // 1280, 1), np.float32), 1280, 1280, length)


@dataclass(frozen=True)
class DeafRecipe:
    name: str = "deaf"
    key: str = "0" * 64

    def hashes(self) -> Mapping[str, str]:
        return {}

    def build(self) -> Engine:
        return Deaf()


def peak_bytes(folder: Path, items: int) -> int:
    # Each stretch is played once, so the segments follow each other.
    rows = [
        {"path": "one.flac", "start_s": number / 10, "length_s": 0.1} for number in range(items)
    ]
    listed = folder / "many.jsonl"
    listed.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    made = plan(listed)
    tracemalloc.start()
    try:
        result = Evaluation(made, lambda _: DeafRecipe(), Processes(1)).run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert result.words[0].items == items


@pytest.mark.timeout(120)
def test_memory_does_not_grow_with_the_number_of_items(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.flac", np.zeros(16_000 * 180, np.int16), 16_000)
    peak_bytes(tmp_path, 10)

    few, many = peak_bytes(tmp_path, 300), peak_bytes(tmp_path, 900)

    # A name, and a place among the recordings that the bootstrap draws from.
    assert (many - few) / 600 < 1_000


CHILD = """
import sys
from pathlib import Path
from tests.evaluate.spoken import evaluate, plan
result = evaluate(plan(Path(sys.argv[1])))
assert result.missing == (), result.missing
status = Path("/proc/self/status").read_text()
print(result.words[0].hours, status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.timeout(180)
def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path: Path) -> None:
    grown = {}
    random = np.random.default_rng(8)
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(random.integers(-40, 40, 960_000, np.int16))
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(path)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        hours, peak_kib = done.stdout.split()
        assert float(hours) * 60 == pytest.approx(minutes)
        grown[minutes] = int(peak_kib) * 1024

    # Nineteen minutes more are 36 MiB of samples, and 56 kB of scores.
    assert grown[20] - grown[1] < 12 * MIB
