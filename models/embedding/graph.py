"""A network written node by node; what the converters make their networks with."""

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
        """Let ``source``, which the last node made, be an output, and be called so from now on."""
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


class StreamWriter(Writer):
    """Collect the nodes of a network that keeps columns from step to step."""

    def __init__(self, *, many_steps: bool) -> None:
        super().__init__()
        self._many_steps = many_steps
        self._end = self.constant("end", np.array([2**31 - 1], np.int64))
        self._time_axis = self.constant("time_axis", np.array([2], np.int64))

    def remember(self, x: str, columns: int, name: str, shape: list[int]) -> str:
        """Put the columns kept in front of the ``columns`` of ``x``; keep as many for the next."""
        past = self.input(f"past.{name}", shape)
        if columns == shape[2] and not self._many_steps:
            new = self.output(x, f"next.{name}", shape)
            return self.operator("Concat", [past, new], axis=2)
        both = self.operator("Concat", [past, x], axis=2)
        start = self.constant(f"start.{name}", np.array([-shape[2]], np.int64))
        kept = self.operator("Slice", [both, start, self._end, self._time_axis])
        self.output(kept, f"next.{name}", shape)
        return both
