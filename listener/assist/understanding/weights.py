"""Reads the weights of Whisper from CTranslate2's format: named arrays, no code. Pure.

Layout (CTranslate2, ``src/models/model.cc``), little-endian: version, name and revision of the
kind of model, number of arrays; for each its name, shape, type, length and values; then aliases.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_VERSION: Final = 6
_KIND: Final = "WhisperSpec"
_TYPES: Final[Mapping[int, Any]] = {
    0: np.float32,
    1: np.int8,
    2: np.int16,
    3: np.int32,
    4: np.float16,
}
_MOST_ARRAYS: Final = 10_000


def parse_weights(data: bytes) -> dict[str, Array]:
    """Return the arrays of a model by name, as float32.

    Args:
        data: content of ``model.bin``, whose hash has been verified.

    Raises:
        ValueError: it does not have this format.
    """
    reader = _WeightsReader(data)
    version, kind = reader.number("I"), reader.text()
    if (version, kind) != (_VERSION, _KIND):
        raise ValueError(f"version {version} of {kind}, not {_VERSION} of {_KIND}")
    reader.number("I")  # the revision of the kind
    count = reader.number("I")
    if count > _MOST_ARRAYS:
        raise ValueError(f"{count} arrays")
    arrays = {}
    for _ in range(count):
        name = reader.text()
        shape = [reader.number("I") for _ in range(reader.number("B"))]
        kind_of_value = _TYPES.get(reader.number("B"))
        if kind_of_value is None:
            raise ValueError(f"{name} has an unknown type")
        values = np.frombuffer(reader.bytes(reader.number("I")), kind_of_value)
        arrays[name] = values.reshape(shape).astype(np.float32)
    return arrays


class _WeightsReader:
    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def bytes(self, length: int) -> memoryview:
        end = self._at + length
        if end > len(self._data):
            raise ValueError("the file ends too early")
        part = self._data[self._at : end]
        self._at = end
        return part

    def number(self, kind: str) -> int:
        size = struct.calcsize(kind)
        return int(struct.unpack(f"<{kind}", self.bytes(size))[0])

    def text(self) -> str:
        return bytes(self.bytes(self.number("H"))).rstrip(b"\0").decode("ascii")
