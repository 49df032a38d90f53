"""A streaming network written node by node; what the converter makes its networks with."""

import numpy as np

from listener.inference.graph import Writer


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
