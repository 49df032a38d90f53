"""The public Python API, its docstring examples, and the examples of its reference page."""

import contextlib
import doctest
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import msgspec
import numpy as np
import pyrage
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import api
from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.evaluate.metrics import intervals
from listener.evaluate.report import tables
from listener.inference.catalogue import Catalogue
from tests.evaluate import sample

FIXTURES = Path(__file__).parent / "fixtures"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "python-api.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
DEVICE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OWNER, OTHER = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
RECIPIENT = str(OWNER.to_public())
SAMPLES = (np.arange(16_000) % 999).astype(np.int16)


@pytest.fixture(scope="module")
def alexa() -> Samples:
    samples: Samples = soundfile.read(FIXTURES / "alexa_command.flac", dtype="int16")[0]
    return samples


@pytest.mark.system
def test_docstring_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES)

    result = doctest.testmod(api)

    assert result.attempted > 20
    assert result.failed == 0


@pytest.mark.system
def test_page_example_of_a_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alexa: Samples
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stream.raw").write_bytes(alexa.tobytes())

    assert run(BLOCKS[0]) == "alexa at 2.64 s, score 0.84\n"


@pytest.mark.system
def test_page_example_of_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alexa").mkdir()
    for name in ("alexa.flac", "talk.flac"):
        shutil.copy(FIXTURES / name, tmp_path / "alexa")

    assert run(BLOCKS[1]) == "misses: 50% (9% to 91% at 95 %)\n"


def test_page_figure_reads_columns_of_curve_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # matplotlib is not a dependency: a stand-in records what would be drawn.
    pyplot = MagicMock()
    monkeypatch.setitem(sys.modules, "matplotlib", MagicMock(pyplot=pyplot))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    monkeypatch.chdir(tmp_path)
    result = sample.result("a.flac")
    (tmp_path / "curve.csv").write_text(tables.curve_csv(result))

    run(BLOCKS[2])

    drawn = {call.kwargs["label"]: call.args for call in pyplot.plot.call_args_list}
    assert drawn == {
        f"{word.engine} {word.condition} {word.word}": (
            [point.false_wakes.value for point in word.curve],
            [point.misses.value for point in word.curve],
        )
        for word in result.words
    }


def test_page_example_of_a_data_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "result.json").write_bytes(msgspec.json.encode(sample.result("a.flac")))

    shown = run(BLOCKS[3])

    assert "engine" in shown
    assert "openwakeword    0." in shown


def test_import_loads_no_heavy_package() -> None:
    check = (
        "import sys, listener.api;"
        "print({'onnxruntime', 'pandas', 'scipy', 'soxr', 'joblib', 'rich'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("onnxruntime", lambda: api.Detector.load("alexa")),
        ("scipy", lambda: api.miss_rate(1, 2)),
    ],
)
def test_missing_package_is_a_usage_error(
    name: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, intervals.__name__)
    monkeypatch.delattr("listener.evaluate.metrics.intervals")

    with pytest.raises(api.UsageError, match=f"{name} is not installed") as caught:
        call()

    assert "pip install 'earmark[" in caught.value.hint


@pytest.mark.system
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(0, 9_999), min_size=1, max_size=9))
def test_block_sizes_do_not_change_wakes(sizes: list[int], alexa: Samples) -> None:
    data = alexa.tobytes()
    detector = api.Detector.load("alexa")
    wakes: list[api.Wake] = []
    for size in sizes:
        wakes += detector.push(data[:size])
        data = data[size:]
    wakes += detector.push(data)

    assert tuple(wakes) == api.detect(alexa, "alexa")
    assert detector.position_samples == len(alexa)


@pytest.mark.system
def test_file_and_samples_give_the_same_wakes(alexa: Samples) -> None:
    path = FIXTURES / "alexa_command.flac"

    wakes = api.detect(path, "alexa")

    assert [wake.word for wake in wakes] == ["alexa"]
    assert wakes == api.detect(str(path), "alexa") == api.detect(alexa, "alexa")
    assert wakes[0].end_s == wakes[0].end_sample / 16_000


@pytest.mark.system
def test_recording_of_another_rate_is_resampled() -> None:
    path = FIXTURES / "stereo_48khz.flac"

    assert [wake.word for wake in api.detect(path, "alexa", channel=1)] == ["alexa"]
    assert api.detect(path, "alexa", channel=0) == ()


@pytest.mark.system
def test_lazy_detector_gives_the_same_wakes(alexa: Samples) -> None:
    assert api.detect(alexa, "alexa", lazy=True) == api.detect(alexa, "alexa")


@pytest.mark.system
def test_several_words_have_scores_and_thresholds(alexa: Samples) -> None:
    detector = api.Detector.load("alexa", "hey-jarvis", threshold={"alexa": 0.75})

    assert detector.scores == {}
    wakes = detector.push(alexa)

    assert detector.words == ("alexa", "hey-jarvis")
    assert detector.thresholds == {"alexa": 0.75, "hey-jarvis": 0.5}
    assert [(wake.word, wake.threshold) for wake in wakes] == [("alexa", 0.75)]
    assert set(detector.scores) == {"alexa", "hey-jarvis"}


@pytest.mark.system
def test_near_misses_are_those_of_the_last_push() -> None:
    samples = soundfile.read(FIXTURES / "near.flac", dtype="int16")[0]
    detector = api.Detector.load("alexa")

    assert detector.push(samples) == ()
    (near_miss,) = detector.near_misses
    detector.push(samples[:0])

    assert 0.2 <= near_miss.score < 0.6
    assert near_miss.end_s == near_miss.end_sample / 16_000
    assert detector.near_misses == ()


@pytest.mark.system
def test_restart_begins_anew_and_counts_the_gap(alexa: Samples) -> None:
    detector = api.Detector.load("alexa")
    detector.push(alexa[:30_000])
    detector.push(b"\x01")
    detector.restart(missing_samples=1_000)
    scores = detector.scores

    (wake,) = detector.push(alexa)

    assert scores == {}
    assert wake.end_sample == 31_000 + api.detect(alexa, "alexa")[0].end_sample


@pytest.mark.system
def test_restart_refuses_a_negative_gap() -> None:
    with pytest.raises(ValueError, match="below 0"):
        api.Detector.load("alexa").restart(-1)


@pytest.mark.system
@pytest.mark.parametrize(
    "samples", [np.zeros(4, np.float32), np.zeros((4, 2), np.int16), np.zeros(4, ">i2")]
)
def test_samples_of_another_type_are_refused(samples: Samples) -> None:
    detector = api.Detector.load("alexa")

    with pytest.raises(ValueError, match="samples "):
        detector.push(samples)
    with pytest.raises(ValueError, match="samples "):
        api.seal_clip(samples, RECIPIENT, DEVICE)


@pytest.mark.system
def test_array_after_half_a_sample_is_refused() -> None:
    detector = api.Detector.load("alexa")
    detector.push(bytes(3))

    with pytest.raises(ValueError, match="within a sample"):
        detector.push(SAMPLES)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ([], {}, "no wake word"),
        (["embedding"], {}, "not a wake-word model"),
        (["alexa"], {"threshold": 1.5}, "0"),
        (["alexa"], {"threshold": {"timer": 0.5}}, "timer"),
        (["alexa"], {"patience_frames": 0}, "patience_frames"),
        (["alexa"], {"hop_ms": 20}, "hop_ms"),
        (["alexa"], {"speed": 2}, "unknown options: speed"),
        (["alexa"], {"models": "/nonexistent"}, "not a directory"),
    ],
)
def test_options_out_of_range_are_usage_errors(
    words: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(api.UsageError, match=message):
        api.Detector.load(*words, **options)


def test_unknown_model_is_refused() -> None:
    with pytest.raises(api.ModelRefused, match="papaya"):
        api.Detector.load("papaya")


@pytest.mark.system
def test_models_names_a_directory_of_further_models(tmp_path: Path, alexa: Samples) -> None:
    shipped = Catalogue(Path("/nonexistent")).load("alexa")
    folder = tmp_path / "my-alexa"
    folder.mkdir()
    (folder / "my-alexa.onnx").write_bytes(shipped.data)
    (folder / "manifest.toml").write_text(
        f"""name = "my-alexa"
kind = "wake-word"
origin = "a copy"
licence = "Apache-2.0"
input_shape = [1, 16, 96]
window_frames = 16
threshold = 0.5

[[files]]
path = "my-alexa.onnx"
sha256 = "{shipped.manifest.sha256}"
bytes = {len(shipped.data)}
"""
    )

    wakes = api.detect(alexa, "my-alexa", models=tmp_path)

    assert [wake.word for wake in wakes] == ["my-alexa"]


def test_sealed_clip_verifies_opens_and_decodes() -> None:
    began = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    envelope = api.seal_clip(
        SAMPLES, RECIPIENT, DEVICE, owner="ada", device="kitchen", seq=7, began=began, word="timer"
    )

    header = api.verify_envelope(envelope, DEVICE.public_key())
    clip = api.open_envelope(envelope, f"# me\n{OWNER}\n", keys.device_text(DEVICE.public_key()))

    assert (header.owner, header.device, header.seq) == ("ada", "kitchen", 7)
    assert header.t == "2026-02-03T04:05:06.000Z"
    assert clip.header == header
    assert (clip.private.word, clip.private.ms, clip.private.rate) == ("timer", 1_000, 16_000)
    assert np.array_equal(api.decode_clip(clip), SAMPLES)


def test_envelope_of_another_device_or_changed_is_refused() -> None:
    envelope = api.seal_clip(SAMPLES, RECIPIENT, DEVICE)
    other = Ed25519PrivateKey.generate().public_key()

    with pytest.raises(api.BadEnvelope):
        api.verify_envelope(envelope, other)
    with pytest.raises(api.BadEnvelope):
        api.verify_envelope(envelope[:-1] + bytes([envelope[-1] ^ 1]), DEVICE.public_key())
    with pytest.raises(api.BadEnvelope):
        api.open_envelope(b"EARMARK/1\n", str(OWNER), DEVICE.public_key())


def test_envelope_of_another_owner_does_not_open() -> None:
    envelope = api.seal_clip(SAMPLES, RECIPIENT, DEVICE)

    with pytest.raises(api.NotForYou):
        api.open_envelope(envelope, str(OTHER), DEVICE.public_key())


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"owner": "Not A Name"}, api.BadEnvelope),
        ({"score": 2.0}, api.BadEnvelope),
        ({"pre_ms": 2_000}, api.BadEnvelope),
        ({"began": datetime(2026, 2, 3)}, api.UsageError),  # noqa: DTZ001 - no time zone is the point
        ({"colour": "red"}, api.UsageError),
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        api.seal_clip(SAMPLES, RECIPIENT, DEVICE, **fields)


def test_texts_that_are_not_keys_are_refused() -> None:
    envelope = api.seal_clip(SAMPLES, RECIPIENT, DEVICE)

    with pytest.raises(api.ConfigError):
        api.seal_clip(SAMPLES, "age1nothing", DEVICE)
    with pytest.raises(api.ConfigError):
        api.verify_envelope(envelope, "ed25519:nothing")
    with pytest.raises(api.ConfigError):
        api.open_envelope(envelope, "nothing", DEVICE.public_key())


def test_rates_are_those_of_the_report() -> None:
    assert api.miss_rate(3, 200) == intervals.wilson(3, 200)
    assert api.false_wakes_per_hour(2, 10.5) == intervals.poisson(2, 10.5)
    assert api.hours_needed(0.5, 2) == intervals.hours_needed(2, 0.5)
    counts, words = [0, 1, 0, 4, 0, 1], [20] * 6
    assert api.bootstrap_rate(counts, words, seed=3) == intervals.bootstrap(
        counts, words, intervals.PER_WORD, 3
    )
    assert api.bootstrap_rate([1, 2], [20, 20]) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: api.miss_rate(3, 2),
        lambda: api.miss_rate(-1, 2),
        lambda: api.miss_rate(0, 0),
        lambda: api.false_wakes_per_hour(-1, 2),
        lambda: api.false_wakes_per_hour(1, 0),
        lambda: api.false_wakes_per_hour(float("nan"), 1),
        lambda: api.hours_needed(0),
        lambda: api.hours_needed(float("inf")),
        lambda: api.bootstrap_rate([1], [2, 3]),
        lambda: api.bootstrap_rate([3], [2]),
        lambda: api.bootstrap_rate([0], [-2]),
    ],
)
def test_numbers_out_of_range_are_value_errors(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        call()


def run(code: str) -> str:
    """Run an example of the page; return what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102 - the example is the project's own
    return output.getvalue()
