"""Record what the original programs give: Kaldi's filterbank, and CAM++ in PyTorch.

The vectors test ``listener/voiceprint/filterbank.py`` and the converted network against code that
is not ours: the filterbank of kaldi-native-fbank, and 3D-Speaker's network from speakerlab-slim.
Run it with ``python -m models.campplus.record WHEEL``, in an environment with the extra
``campplus``; no other part of the project needs these packages.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.campplus.convert import VECTORS, read_clips, read_weights

CLIPS: Final = (
    # file, first second, seconds: speech of four synthetic voices, and noise
    ("alexa_command.flac", 2.2, 0.5),
    ("quiet.flac", 0.0, 0.5),
    ("hey_jarvis_command.flac", 2.1, 1.0),
    ("hey_mycroft_command.flac", 2.2, 1.987),
    ("talk.flac", 2.0, 2.0),
    ("talk.flac", 6.4, 2.005),
    ("talk.flac", 9.8, 3.0),
    ("alexa_twice.flac", 10.5, 4.2),
)
FEATURE_CLIPS: Final = 2
"""The features of so many clips are recorded."""
TENSORS: Final = "tensors.pt"
"""A small file of PyTorch's own, for the reader of its format."""
_RATE_HZ: Final = 16_000


def main() -> None:
    """Record the vectors."""
    VECTORS.mkdir(parents=True, exist_ok=True)
    described = [
        {
            "file": file,
            "first_sample": round(first_s * _RATE_HZ),
            "end_sample": round((first_s + length_s) * _RATE_HZ),
        }
        for file, first_s, length_s in CLIPS
    ]
    lines = ",\n".join(f"  {json.dumps(clip)}" for clip in described)
    (VECTORS / "clips.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    _save_tensors(VECTORS / TENSORS)
    features = [_filterbank(clip) for clip in read_clips()]
    np.save(VECTORS / "filterbank.npy", np.concatenate(features[:FEATURE_CLIPS]))
    np.save(VECTORS / "embeddings.npy", _embeddings(features, read_weights(Path(sys.argv[1]))))


def _filterbank(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    import kaldi_native_fbank  # noqa: PLC0415 - only in the environment of this program

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = _RATE_HZ
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    kaldi = kaldi_native_fbank.OnlineFbank(options)
    kaldi.accept_waveform(_RATE_HZ, (samples / 32_768).tolist())
    kaldi.input_finished()
    rows = np.stack([kaldi.get_frame(index) for index in range(kaldi.num_frames_ready)])
    features: NDArray[np.float32] = (rows - rows.mean(axis=0)).astype(np.float32)
    return features


def _save_tensors(file: Path) -> None:
    import torch  # noqa: PLC0415 - only in the environment of this program

    numbers = torch.arange(12, dtype=torch.float32)
    state = {"kernel": numbers[:6].reshape(2, 3), "bias": numbers[10:], "steps": torch.tensor(7)}
    torch.save(state, file)


def _embeddings(features: list[NDArray[np.float32]], weights: bytes) -> NDArray[np.float32]:
    import torch  # noqa: PLC0415 - only in the environment of this program
    from speakerlab.models.campplus.DTDNN import CAMPPlus  # noqa: PLC0415 - see torch

    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(weights)
        file.flush()
        state = torch.load(file.name, map_location="cpu", weights_only=True)
    network = CAMPPlus(feat_dim=80, embedding_size=192, memory_efficient=False)
    network.load_state_dict(state)
    network.eval()
    with torch.no_grad():
        return np.concatenate([network(torch.from_numpy(one)[None]).numpy() for one in features])


if __name__ == "__main__":
    main()
