"""Reads tensors from a file that PyTorch wrote, as data: nothing that the file names is executed.

The format (``torch.save`` since 1.6) is a ZIP file: ``data.pkl`` is a pickle that names the
tensors, and each storage is a file of its own. A pickle can name any function; this reader knows
four names, which stand for functions of its own, and refuses all others.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from listener.errors import ModelRefused

Tensor = NDArray[Any]

_STORAGE_TYPES: Final[Mapping[str, Any]] = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_HINT: Final = "only files that torch.save writes for the state of a network can be read"


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a file by name: float32 and int64 arrays.

    Args:
        data: content of the file; any bytes are safe.

    Raises:
        ModelRefused: it is not such a file, or names something else than tensors.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            folder = index.removesuffix("data.pkl")
            tensors = _TensorReader(archive, folder, archive.read(index)).load()
    except ModelRefused:
        raise
    # What zipfile and pickle raise of a damaged file is not limited to a list of classes.
    except Exception as error:
        raise ModelRefused(f"the weights cannot be read: {error}", _HINT) from error
    is_state = isinstance(tensors, dict) and all(
        isinstance(name, str) and isinstance(tensor, np.ndarray) for name, tensor in tensors.items()
    )
    if not is_state:
        raise ModelRefused("the weights are not tensors with names", _HINT)
    return dict(tensors)


class _TensorReader(pickle.Unpickler):
    """Reader of the pickle: it makes arrays, tuples, numbers and text, and nothing else."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, index: bytes) -> None:
        super().__init__(io.BytesIO(index))
        self._archive = archive
        self._folder = folder

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as its base class says
        """Return what a name stands for; refuse every name but four."""
        known: dict[tuple[str, str], type | Callable[..., Tensor] | str] = {
            ("torch._utils", "_rebuild_tensor_v2"): _make_tensor,
            ("collections", "OrderedDict"): OrderedDict,
        }
        known |= {("torch", storage): storage for storage in _STORAGE_TYPES}
        if (module, name) not in known:
            raise ModelRefused(f"the weights name {module}.{name}, which is not a tensor", _HINT)
        return known[module, name]

    def persistent_load(self, pid: Any) -> Tensor:  # noqa: ANN401 - as its base class says
        """Return a storage as a flat array."""
        kind, storage, name, _device, _length = pid
        if kind != "storage":
            raise ModelRefused(f"the weights hold a {kind}, which is not a tensor", _HINT)
        return np.frombuffer(
            self._archive.read(f"{self._folder}data/{name}"), _STORAGE_TYPES[storage]
        )


def _make_tensor(
    storage: Tensor, offset: int, shape: Sequence[int], strides: Sequence[int], *_hooks: object
) -> Tensor:
    """Return a tensor of a storage, copied; a tensor that is not contiguous is refused."""
    contiguous = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    if list(strides) != contiguous:
        raise ModelRefused(f"a tensor of the shape {shape} is not contiguous", _HINT)
    count = int(np.prod(shape))
    return storage[offset : offset + count].reshape(shape).copy()
