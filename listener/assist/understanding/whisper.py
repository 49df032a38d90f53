"""Whisper in numpy: the encoder, and a decoder whose hypotheses share one clip. Pure.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022): a Transformer
with normalisation before each part, heads of 64 values, and an output layer that is the embedding.
The decoder takes one token of each hypothesis at a time, and keeps the keys and values of those
before it, so that a search may continue, drop and copy hypotheses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from listener.assist.understanding.mel_spectrogram import Spectrogram, compute_spectrogram
from listener.assist.understanding.weights import Array
from listener.audio.pcm import Samples

WINDOWS_PER_S: Final = 100
LONGEST_WINDOWS: Final = 3000
_HEAD: Final = 64
_EPSILON: Final = 1e-5
_STEP_WINDOWS: Final = 50

Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """Keys and values of a clip, for each layer of the decoder; shapes (heads, n, 64)."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class DecoderCache:
    """Keys and values of the tokens so far, for each layer; shapes (hypotheses, heads, t, 64)."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    length: int


class WhisperModel:
    """Encoder and decoder.

    Not thread-safe: one thread uses it.

    Args:
        weights: as `weights.parse_weights` returns them.

    Raises:
        ValueError: an array is missing.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        try:
            # Transposed, as the output layer needs it: twice as fast.
            self._output = np.ascontiguousarray(weights["decoder/embeddings/weight"].T)
            self._positions = weights["decoder/position_encodings/encodings"]
            self._encoder_positions = weights["encoder/position_encodings/encodings"]
        except KeyError as error:
            raise ValueError(f"the weights lack {error.args[0]}") from error
        self._weights = {
            name: array for name, array in weights.items() if name != "decoder/embeddings/weight"
        }
        self.size = self._output.shape[1]
        self._layers = _count_layers(weights, "decoder")
        self._encoder_layers = _count_layers(weights, "encoder")

    def encode(self, samples: Samples, silence_s: float) -> EncodedClip:
        """Encode a clip; time and memory grow with its length.

        Args:
            samples: int16, shape (n,), mono, 16 kHz.
            silence_s: silence that is added at the end.
        """
        wanted = int((len(samples) / 16_000 + silence_s) * WINDOWS_PER_S)
        windows = min(LONGEST_WINDOWS, -(-wanted // _STEP_WINDOWS) * _STEP_WINDOWS)
        state = self._convolve(compute_spectrogram(samples, windows))
        state += self._encoder_positions[: len(state)]
        for layer in range(self._encoder_layers):
            name = f"encoder/layer_{layer}"
            mixed = self._linear(
                f"{name}/self_attention/linear_0", self._norm(f"{name}/self_attention", state)
            )
            query, key, value = (_split(part) for part in np.split(mixed, 3, axis=-1))
            seen = _attend(query, key, value)
            state = state + self._linear(f"{name}/self_attention/linear_1", _join(seen))
            state = state + self._feed_forward(name, state)
        state = self._norm_of("encoder/layer_norm", state)
        keys, values = [], []
        for layer in range(self._layers):
            both = self._linear(f"decoder/layer_{layer}/attention/linear_1", state)
            key, value = np.split(both, 2, axis=-1)
            keys.append(_split(key))
            values.append(_split(value))
        return EncodedClip(tuple(keys), tuple(values))

    def start(self) -> DecoderCache:
        """Return the cache of one hypothesis without tokens."""
        heads = self._output.shape[0] // _HEAD
        empty = tuple(np.zeros((1, heads, 0, _HEAD), np.float32) for _ in range(self._layers))
        return DecoderCache(empty, empty, 0)

    def advance(
        self, clip: EncodedClip, cache: DecoderCache, parents: Sequence[int], tokens: Sequence[int]
    ) -> tuple[Array, DecoderCache]:
        """Add one token to each hypothesis.

        Args:
            clip: what is decoded.
            cache: of the hypotheses before.
            parents: for each new hypothesis the number of the one that it continues.
            tokens: its token.

        Returns:
            Logarithms of the probabilities of each next token, shape (hypotheses, size), and the
            cache of the new hypotheses.
        """
        chosen = np.asarray(parents, np.intp)
        state = self._output[:, np.asarray(tokens, np.intp)].T + self._positions[cache.length]
        keys, values = [], []
        for layer in range(self._layers):
            name = f"decoder/layer_{layer}"
            mixed = self._linear(
                f"{name}/self_attention/linear_0", self._norm(f"{name}/self_attention", state)
            )
            query, key, value = (_split_one(part) for part in np.split(mixed, 3, axis=-1))
            keys.append(np.concatenate([cache.keys[layer][chosen], key], axis=2))
            values.append(np.concatenate([cache.values[layer][chosen], value], axis=2))
            seen = _attend(query, keys[-1], values[-1])
            state = state + self._linear(f"{name}/self_attention/linear_1", _join_one(seen))
            query = _split_one(
                self._linear(f"{name}/attention/linear_0", self._norm(f"{name}/attention", state))
            )
            # All hypotheses look at the same clip: they are rows of one query.
            seen = _attend(query[:, :, 0].transpose(1, 0, 2), clip.keys[layer], clip.values[layer])
            state = state + self._linear(f"{name}/attention/linear_2", _join(seen))
            state = state + self._feed_forward(name, state)
        state = self._norm_of("decoder/layer_norm", state)
        scores = state @ self._output
        scores -= scores.max(axis=-1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
        return scores, DecoderCache(tuple(keys), tuple(values), cache.length + 1)

    def _linear(self, name: str, state: Array) -> Array:
        return state @ self._weights[f"{name}/weight"].T + self._weights[f"{name}/bias"]

    def _norm(self, name: str, state: Array) -> Array:
        return self._norm_of(f"{name}/layer_norm", state)

    def _norm_of(self, name: str, state: Array) -> Array:
        centred = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON)
        gamma, beta = self._weights[f"{name}/gamma"], self._weights[f"{name}/beta"]
        normal: Array = centred / spread * gamma + beta
        return normal

    def _feed_forward(self, name: str, state: Array) -> Array:
        inner = _gelu(self._linear(f"{name}/ffn/linear_0", self._norm(f"{name}/ffn", state)))
        return self._linear(f"{name}/ffn/linear_1", inner)

    def _convolve(self, spectrogram: Spectrogram) -> Array:
        state = spectrogram
        for name, stride in (("conv1", 1), ("conv2", 2)):
            weight = self._weights[f"encoder/{name}/weight"]
            padded = np.pad(state, ((0, 0), (1, 1)))
            # Shape (n, channels, 3).
            windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)[:, ::stride]
            flat = windows.transpose(1, 0, 2).reshape(windows.shape[1], -1)
            out = flat @ weight.reshape(len(weight), -1).T + self._weights[f"encoder/{name}/bias"]
            state = np.ascontiguousarray(_gelu(out).T)
        return np.ascontiguousarray(state.T)


def _count_layers(weights: Mapping[str, Array], side: str) -> int:
    return sum(f"{side}/layer_{n}/ffn/linear_0/weight" in weights for n in range(len(weights)))


def _split(state: Array) -> Array:
    return np.ascontiguousarray(state.reshape(len(state), -1, _HEAD).transpose(1, 0, 2))


def _split_one(state: Array) -> Array:
    return state.reshape(len(state), -1, 1, _HEAD)


def _join(state: Array) -> Array:
    return state.transpose(1, 0, 2).reshape(state.shape[1], -1)


def _join_one(state: Array) -> Array:
    return state.reshape(len(state), -1)


def _attend(query: Array, key: Array, value: Array) -> Array:
    scores = query @ np.swapaxes(key, -1, -2) * np.float32(_HEAD**-0.5)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    total = scores.sum(axis=-1, keepdims=True)
    return np.asarray(scores @ value / total, np.float32)


def _gelu(state: Array) -> Array:
    # By tanh: at most 5e-4 from the one with the error function, which numpy does not have.
    inner = np.float32(0.7978845608) * (state + np.float32(0.044715) * state**3)
    return np.asarray(np.float32(0.5) * state * (np.float32(1.0) + np.tanh(inner)), np.float32)
