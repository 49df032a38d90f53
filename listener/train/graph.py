"""The graph of an ensemble of heads, in openWakeWord's format: one window in, one score out.

Heads of dense layers are one network: their first layers lie side by side, their second layers are
the blocks of a diagonal, and the last layer is their mean. Standardisation is a part of the first
layer, its clipping a minimum and a maximum before.
"""

import numpy as np

from listener.inference.graph import Writer
from listener.train.features import WINDOW_FRAMES
from listener.train.heads import CLIP, DenseHead, Ensemble, input_scale
from listener.wakeword.embedding import FEATURES


def export(ensemble: Ensemble, shift: float, name: str) -> bytes:
    """Return the ONNX file of an ensemble; the same ensemble gives the same bytes.

    Args:
        ensemble: heads of dense layers.
        shift: added to the mean logit before the logistic function.
        name: name of the graph.
    """
    heads = [head for head in ensemble.heads if isinstance(head, DenseHead)]
    mean, deviation = (
        each.astype(np.float64) for each in (ensemble.standard.mean, ensemble.standard.deviation)
    )
    weights = np.concatenate([head.parameters[0] for head in heads], axis=1, dtype=np.float64)
    weights *= input_scale() / deviation[:, None]
    bias = np.concatenate([head.parameters[1] for head in heads], dtype=np.float64)
    bias -= mean @ weights
    widths = [len(head.parameters[3]) for head in heads]
    second = np.zeros((sum(widths), sum(widths)))
    first = 0
    for head, width in zip(heads, widths, strict=True):
        second[first : first + width, first : first + width] = head.parameters[2]
        first += width
    second_bias = np.concatenate([head.parameters[3] for head in heads])
    last = np.concatenate([head.parameters[4] for head in heads], dtype=np.float64) / len(heads)
    last_bias = np.mean([head.parameters[5] for head in heads], axis=0, dtype=np.float64) + shift

    graph = Writer()
    x = graph.input("window", [1, WINDOW_FRAMES, FEATURES])
    for operator, bound in (("Max", mean - CLIP * deviation), ("Min", mean + CLIP * deviation)):
        limit = bound.astype(np.float32).reshape(1, WINDOW_FRAMES, FEATURES)
        x = graph.operator(operator, [x, graph.constant(f"{operator.lower()}imum", limit)])
    x = graph.operator("Flatten", [x], axis=1)
    layers = ((weights, bias), (second, second_bias), (last, last_bias))
    for number, (matrix, offset) in enumerate(layers):
        names = [
            graph.constant(f"{kind}.{number}", values.astype(np.float32))
            for kind, values in (("weight", matrix), ("bias", offset))
        ]
        x = graph.operator("Gemm", [x, *names])
        x = graph.operator("Relu" if number < len(layers) - 1 else "Sigmoid", [x])
    graph.output(x, "score", [1, 1])
    return graph.serialise(name)
