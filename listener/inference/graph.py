"""A network written node by node as an ONNX file, for converters and the trainer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Collect the nodes of a graph."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def constant(self, name: str, value: Any) -> str:  # noqa: ANN401 - whatever numpy takes
        """Add a constant; return its name."""
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """Add an input; return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, source: str, name: str, shape: Sequence[int | str]) -> str:
        """Make ``source``, which the last node made, an output; return its new name.

        Raises:
            ValueError: another node was added after it.
        """
        if self._nodes[-1].output[0] != source:
            raise ValueError("only the newest value can become an output")
        self._nodes[-1].output[0] = name
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def operator(self, kind: str, inputs: list[str], **attributes: Any) -> str:  # noqa: ANN401 - as onnx takes them
        """Add an operator; return the name of its one output."""
        name = f"{len(self._nodes):03}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def serialise(self, name: str) -> bytes:
        """Return the whole as a checked ONNX file; the same graph gives the same bytes."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
            producer_name="earmark",
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
