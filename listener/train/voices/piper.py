"""Piper's voice en_US-joe-medium in onnxruntime: one neural voice of varied delivery.

The network draws normal noise inside, from a generator that cannot be set for one run. The noise
becomes an input here, so that a clip depends on its own random generator alone.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.random import Generator

from listener.audio.pcm import Samples
from listener.errors import ConfigError, ModelRefused
from listener.inference.onnx import open_session
from listener.train.voices.neural_files import (
    PIPER_MODEL,
    PIPER_SETTINGS,
    neural_voices,
    read_neural_file,
)
from listener.train.voices.neural_speech import Transcriber, to_samples

NAME: Final = "piper"
LONGEST_FRAMES: Final = 2048
"""Frames of 256 samples for which noise is given: 24 s."""

_RATE_HZ: Final = 22_050
_START: Final = "^"
_END: Final = "$"
_PAD: Final = 0
_MOST_SYMBOLS: Final = 400
_LATENT_VALUES: Final = 192
_DURATION_VALUES: Final = 2
_NOISE: Final = (0.5, 1.1)
_LENGTHS: Final = (0.8, 1.4)
_DURATION_NOISE: Final = (0.6, 1.2)
_DURATION_INPUT: Final = "duration_noise"
_LATENT_INPUT: Final = "latent_noise"
_SOURCE: Final = "RandomNormalLike"
_SOURCES: Final = 2


class PiperSettings(msgspec.Struct, frozen=True):
    """What is used of the settings file of a voice; other keys are ignored."""

    phoneme_id_map: dict[str, tuple[int, ...]]
    """Numbers of each symbol."""


class PiperEngine:
    """Piper; see `listener.train.voices.engine.VoiceEngine`."""

    name = NAME
    licence = "CC0-1.0"
    resampling = (0.85, 1.2)
    voices: tuple[str, ...] = ("joe",)

    def __init__(self, home: Path) -> None:
        """Load the network.

        Args:
            home: data directory that it was added to.

        Raises:
            Unavailable: it was not added, or espeak-ng is not installed.
            ModelRefused: a file is not the expected one.
            ConfigError: the package onnx is not installed.
        """
        self._symbols = parse_settings(read_neural_file(home, NAME, PIPER_SETTINGS))
        self._transcriber = Transcriber()
        model = take_noise_as_input(read_neural_file(home, NAME, PIPER_MODEL))
        self._session = open_session(model, NAME, keeps_memory=True)
        self.version = f"{neural_voices()[NAME].version}; espeak-ng {self._transcriber.version}"

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        """See `VoiceEngine.speak`."""
        del voice
        numbers = number_symbols(self._transcriber.transcribe(text, "en-us"), self._symbols)
        scales = [random.uniform(*_NOISE), random.uniform(*_LENGTHS)]
        scales.append(random.uniform(*_DURATION_NOISE))
        durations = random.standard_normal((1, _DURATION_VALUES, len(numbers)), np.float32)
        latent = random.standard_normal((1, _LATENT_VALUES, LONGEST_FRAMES), np.float32)
        inputs = {
            "input": np.array([numbers], np.int64),
            "input_lengths": np.array([len(numbers)], np.int64),
            "scales": np.array(scales, np.float32),
            _DURATION_INPUT: durations,
            _LATENT_INPUT: latent,
        }
        return to_samples(self._session.run(None, inputs)[0], _RATE_HZ)


def parse_settings(data: bytes) -> dict[str, tuple[int, ...]]:
    """Return the numbers of each symbol from a voice's settings file.

    Raises:
        ModelRefused: it is not such a file.
    """
    try:
        settings = msgspec.json.decode(data, type=PiperSettings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelRefused(f"the settings of the voice {NAME} are not valid: {error}") from error
    symbols = settings.phoneme_id_map
    if not all(symbols.get(symbol) for symbol in (_START, _END)):
        raise ModelRefused(f"the settings of the voice {NAME} lack the start or the end symbol")
    return symbols


def number_symbols(ipa: str, symbols: dict[str, tuple[int, ...]]) -> list[int]:
    """Return the numbers of a pronunciation, with its start, its end and the pads between.

    Args:
        ipa: any text; symbols that the voice does not have are omitted.
        symbols: numbers of each symbol.
    """
    numbers = [*symbols[_START], _PAD]
    for symbol in f"{ipa[:_MOST_SYMBOLS]}.":
        for number in symbols.get(symbol, ()):
            numbers += [number, _PAD]
    return [*numbers, *symbols[_END]]


def take_noise_as_input(model: bytes) -> bytes:
    """Return a Piper network whose two sources of noise are inputs.

    The first has the shape (1, 2, symbols); of the second, (1, 192, ``LONGEST_FRAMES``), as much is
    used as the speech has frames.

    Raises:
        ModelRefused: the network has other sources of noise, or cannot be parsed.
        ConfigError: the package onnx is not installed.
    """
    try:
        import onnx  # noqa: PLC0415 - a package of the extra, needed for this voice alone
    except ImportError as error:
        raise ConfigError(
            "the package onnx is not installed", "pip install 'earmark[train]'"
        ) from error
    try:
        parsed: Any = onnx.load_model_from_string(model)
        sources = [node for node in parsed.graph.node if node.op_type == _SOURCE]
        if len(sources) == _SOURCES:
            _replace_sources(onnx, parsed.graph, *sources)
        changed: bytes = parsed.SerializeToString()
    except Exception as error:  # its classes are those of protobuf, by version
        raise ModelRefused(f"the network of the voice {NAME} cannot be parsed") from error
    if len(sources) != _SOURCES:
        raise ModelRefused(f"the network of the voice {NAME} has other sources of noise")
    return changed


def _replace_sources(onnx: Any, graph: Any, durations: Any, latent: Any) -> None:  # noqa: ANN401 - onnx ships no types
    """Replace both sources of noise of a graph by inputs."""
    helper = onnx.helper
    shape, start = f"{_LATENT_INPUT}_shape", f"{_LATENT_INPUT}_start"
    nodes = []
    for node in graph.node:
        if node == durations:
            nodes.append(helper.make_node("Identity", [_DURATION_INPUT], [durations.output[0]]))
        elif node == latent:
            nodes += [
                helper.make_node("Shape", [latent.input[0]], [shape]),
                helper.make_node("Slice", [_LATENT_INPUT, start, shape], [latent.output[0]]),
            ]
        else:
            nodes.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.append(helper.make_tensor(start, onnx.TensorProto.INT64, [3], [0, 0, 0]))
    for name, dimensions in (
        (_DURATION_INPUT, [1, _DURATION_VALUES, "symbols"]),
        (_LATENT_INPUT, [1, _LATENT_VALUES, LONGEST_FRAMES]),
    ):
        graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dimensions))
