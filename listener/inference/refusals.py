"""Reasons why a file is not a network that onnxruntime can run, by its first bytes. Pure.

The runtime's own reason is the same for a web page, a TensorFlow Lite model and a truncated file,
so the kind is told by the file's signature first, then by the runtime's text.
"""

import re
from typing import Final

from listener.errors import ModelRefused

_FIRST_BYTES: Final = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the model", "fetch it: git lfs pull"),
    (
        b"PK\x03\x04",
        "is a PyTorch model or a ZIP file",
        "export it in one file: torch.onnx.export(..., external_data=False)",
    ),
    (
        b"\x80",
        "is a Python pickle, which Earmark does not load",
        "export it in one file: torch.onnx.export(..., external_data=False)",
    ),
    (b"\x89HDF", "is a Keras model", "convert it to ONNX with tf2onnx"),
    (b"GGUF", "is a GGUF model", "use a wake-word classifier in openWakeWord format"),
    (b"\x1f\x8b", "is a gzip file", "unpack it: gzip -d"),
)
_WEB_PAGE: Final = re.compile(rb"\s*<(!doctype|html|\?xml|head|body)", re.IGNORECASE)
_TFLITE: Final = (4, b"TFL3")  # the file identifier of FlatBuffers
_OWN_PLACE: Final = re.compile(r"^\S*/onnxruntime_src/.*?\)\s+")  # source file and C++ function


def explain_refusal(data: bytes, name: str, reason: str) -> ModelRefused:
    """Return the error for a file that onnxruntime cannot load.

    Args:
        data: content of the file.
        name: name for messages.
        reason: message of onnxruntime.
    """
    text, hint = _kind_of_file(data, name) or _kind_of_reason(reason)
    return ModelRefused(f"{name} {text}", hint)


def _kind_of_file(data: bytes, name: str) -> tuple[str, str] | None:
    if not data:
        return "is empty", "download or export it again"
    for first, text, hint in _FIRST_BYTES:
        if data.startswith(first):
            return text, hint
    if _WEB_PAGE.match(data):
        return "is a web page, not a model", "download the file itself"
    at, signature = _TFLITE
    if data[at : at + len(signature)] == signature:
        return "is a TensorFlow Lite model", "use the .onnx file of the same training run"
    if name.lower().endswith(".ppn"):
        return (
            "is a Porcupine keyword, which only Picovoice's engine runs",
            "use a wake-word classifier in openWakeWord format",
        )
    return None


def _kind_of_reason(reason: str) -> tuple[str, str]:
    if "external data" in reason.lower():
        return (
            "keeps its weights in a second file",
            "put them into one file: onnx.save(onnx.load('model.onnx'), 'one.onnx')",
        )
    if "IR version" in reason or "opset" in reason:
        return (
            f"needs a newer onnxruntime: {_shorten(reason)}",
            "export it with opset 17 and IR version 8",
        )
    if "protobuf" in reason:
        return "is not an ONNX file, or is truncated", "download or export it again"
    return f"cannot be run by onnxruntime: {_shorten(reason)}", ""


def _shorten(reason: str) -> str:
    """Return one line of the runtime's message, without its prefix and without paths."""
    line = " ".join(reason.split())
    line = line.rsplit(" : ", 1)[-1] if line.startswith("[ONNXRuntimeError]") else line
    line = _OWN_PLACE.sub("", line)
    line = re.sub(r"\"?/\S+", "…", line)
    return (line[:1].lower() + line[1:160]).rstrip(". ")
