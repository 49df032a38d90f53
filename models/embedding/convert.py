"""Make the streaming embedding network from the one that openWakeWord ships.

openWakeWord computes each embedding from 76 mel frames although 68 of them were there before. The
network never pads along time, so keeping the last columns in front of each convolution with a
kernel in time gives the same embedding from the new frames alone. ``docs/decisions/0004`` tells
the reasons; ``original.py`` checks that the network at hand is the one the argument holds for, and
this module writes it anew:

- ``stream-80.onnx``: 8 mel frames (80 ms) a step;
- ``stream-40.onnx``: 4 mel frames (40 ms) a step; from the pool on that would straddle two steps,
  pools have stride 1 and kernels are dilated, so both phases run through one network;
- ``mel.npy``: weights from 120 bins of the spectrum to 32 mel bands;
- ``stream-long.onnx``: any number of steps of 80 ms at once, for evaluation and first stages; it
  has a folder of its own, so that other devices do not read it.

Same input, same bytes. Run it with ``python -m models.embedding.convert [MODELS]``; it needs
``onnx``, which no device does.
"""

import importlib.util
import io
import sys
from pathlib import Path
from typing import Final

import numpy as np

from listener.errors import ModelRefused
from models.embedding.graph import StreamWriter
from models.embedding.original import (
    ALPHA,
    CHANNELS,
    FLOOR,
    MEL_BANDS,
    POOLS,
    Network,
    read_mel,
    read_network,
)

MODELS: Final = Path(__file__).parents[1]
PRODUCTS: Final = (
    "embedding/stream-80.onnx",
    "embedding/stream-40.onnx",
    "embedding/mel.npy",
    "embedding-long/stream-long.onnx",
)


def streaming(network: Network, hop_frames: int, *, many_steps: bool = False) -> bytes:
    """Write the network that takes only the new mel frames.

    Inputs: ``mel``, shape (1, 1, hop_frames, 32), and the columns kept, ``past.<layer>``; outputs:
    ``embedding``, shape (1, 96), and ``next.<layer>``, to be fed back as ``past.<layer>``.

    Args:
        network: the weights.
        hop_frames: 8 or 4; with 4, each of two phases sees every second step.
        many_steps: take any number of steps at once, with as many more frames and embeddings;
            only with 8 frames a step.
    """
    graph = StreamWriter(many_steps=many_steps)
    x = graph.input("mel", [1, 1, "frames" if many_steps else hop_frames, MEL_BANDS])
    floor = graph.constant("floor", np.float32(FLOOR))
    columns, rows, dilation = hop_frames, MEL_BANDS, 1
    for layer, (kernel, bias) in enumerate(zip(network.kernels, network.biases, strict=True)):
        outputs, inputs, taps, width = kernel.shape
        if taps > 1:
            x = graph.remember(x, columns, f"{layer:02}", [1, inputs, (taps - 1) * dilation, rows])
        weights = [graph.constant(f"kernel.{layer:02}", kernel)]
        if bias is not None:
            weights.append(graph.constant(f"bias.{layer:02}", bias))
        x = graph.operator(
            "Conv",
            [x, *weights],
            kernel_shape=[taps, width],
            pads=[0, width // 2, 0, width // 2],
            dilations=[dilation if taps > 1 else 1, 1],
        )
        if layer == 0:
            shift = graph.constant("shift", network.shift[None, :, None, None])
            x = graph.operator("Add", [graph.operator("Relu", [x]), shift])
        last = layer == len(network.kernels) - 1
        if not last:
            x = graph.operator("LeakyRelu", [x], alpha=ALPHA)
        if layer in POOLS:
            over_time, over_rows = POOLS[layer]
            rows //= over_rows
            if columns >= over_time:
                columns //= over_time
                shape = [over_time, over_rows]
                x = graph.operator("MaxPool", [x], kernel_shape=shape, strides=shape)
            else:
                # One column a step is left: its partner is the one `dilation` columns back.
                shape = [1, over_rows]
                x = graph.operator("MaxPool", [x], kernel_shape=shape, strides=shape)
                x = graph.remember(x, columns, f"{layer:02}.pool", [1, outputs, dilation, rows])
                x = graph.operator(
                    "MaxPool", [x], kernel_shape=[over_time, 1], dilations=[dilation, 1]
                )
                dilation *= over_time
        if not last:
            # The largest of clipped values is the clipped largest: clipping after the pool is less.
            x = graph.operator("Clip", [x, floor])
    if many_steps:
        x = graph.operator("Transpose", [x], perm=[0, 2, 1, 3])
    flat = graph.constant("flat", np.array([-1 if many_steps else 1, CHANNELS[-1]], np.int64))
    steps = "steps" if many_steps else 1
    graph.output(graph.operator("Reshape", [x, flat]), "embedding", [steps, CHANNELS[-1]])
    return graph.serialise(f"speech-embedding-{'long' if many_steps else f'{hop_frames * 10}ms'}")


def convert(models: Path) -> dict[str, bytes]:
    """Make every product from the folder of openWakeWord's models, by its path in ours.

    Raises:
        ModelRefused: a network there is not the one expected.
    """
    network = read_network((models / "embedding_model.onnx").read_bytes())
    mel = io.BytesIO()
    np.save(mel, read_mel((models / "melspectrogram.onnx").read_bytes()))
    made = (
        streaming(network, 8),
        streaming(network, 4),
        mel.getvalue(),
        streaming(network, 8, many_steps=True),
    )
    return dict(zip(PRODUCTS, made, strict=True))


def installed_models() -> Path:
    """Find the models of the installed openwakeword without importing it.

    Raises:
        ModelRefused: it is not installed.
    """
    found = importlib.util.find_spec("openwakeword")
    if found is None or not found.submodule_search_locations:
        raise ModelRefused("openwakeword is not installed", "pip install openwakeword==0.4.0")
    return Path(found.submodule_search_locations[0]) / "resources" / "models"


def main() -> None:
    """Write the products into the folder of models named, or into our own."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else MODELS
    for name, data in convert(installed_models()).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
        print(f"{out / name}: {len(data)} bytes")  # noqa: T201 - what was made


if __name__ == "__main__":
    main()
