"""The only importer of onnxruntime: sessions on the processor alone, and buffers bound to them.

Its Linux wheels carry telemetry that is on by default; it is switched off here before the first
import and once more after it. Sessions use one thread.
"""

import os
from typing import Any, TypeAlias

import numpy as np

from listener.errors import ModelRefused
from listener.wake.features import Floats

Session: TypeAlias = Any  # onnxruntime ships no types; this is its InferenceSession,
Binding: TypeAlias = Any  # and this its IOBinding


def open_session(data: bytes, name: str, *, keeps_memory: bool) -> Session:
    """Load a network.

    Args:
        data: an ONNX file.
        name: for messages.
        keeps_memory: whether the runtime holds on to what it computes in. Without, that is freed,
            and overwritten, after each run; with it, a large network is a tenth quicker.

    Raises:
        ModelRefused: onnxruntime cannot.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - only after its telemetry is off, and only where needed

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = keeps_memory
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises its own kinds, by version
        raise ModelRefused(f"{name} is no network that onnxruntime can run") from error


def bind_input(binding: Binding, name: str, buffer: Floats) -> None:
    """Let a network read what it is given from ``buffer``, which must live as long."""
    binding.bind_input(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)


def bind_output(binding: Binding, name: str, buffer: Floats) -> None:
    """Let a network write what it finds into ``buffer``, which must live as long."""
    binding.bind_output(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
