"""Operations that tf2onnx translates wrongly or not at all, translated here.

Handlers are called by tf2onnx with its graph, the node, the node's name and arguments;
each puts nodes of ONNX in the node's place.
"""

from typing import Any, Callable

import numpy as np


def _floor_mod(graph: Any, node: Any, name: str, arguments: list) -> None:
    """The remainder with the divisor's sign; tf2onnx gives the dividend's.

    ONNX's Mod has the divisor's for integers only.
    """
    value, divisor = node.input
    if np.issubdtype(_dtype(graph, value), np.integer):
        _replace(graph, node, "Mod", [value, divisor])
        return
    quotient = graph.make_node("Div", [value, divisor]).output[0]
    times = graph.make_node("Floor", [quotient]).output[0]
    whole = graph.make_node("Mul", [times, divisor]).output[0]
    _replace(graph, node, "Sub", [value, whole])


def _floor_div(graph: Any, node: Any, name: str, arguments: list) -> None:
    """The quotient of integers rounded down; tf2onnx rounds towards zero."""
    value, divisor = node.input
    rest = graph.make_node("Mod", [value, divisor]).output[0]
    whole = graph.make_node("Sub", [value, rest]).output[0]
    _replace(graph, node, "Div", [whole, divisor])


def _scatter_nd(graph: Any, node: Any, name: str, arguments: list) -> None:
    """Adds up what falls on one place; tf2onnx keeps the last."""
    places, updates, shape = node.input
    zero = _constant(graph, np.zeros([], _dtype(graph, updates)))
    zeros = graph.make_node("Expand", [zero, _int64(graph, shape)]).output[0]
    there = _int64(graph, places)
    _replace(graph, node, "ScatterND", [zeros, there, updates], reduction="add")


def _unsorted_segment_min(graph: Any, node: Any, name: str, arguments: list) -> None:
    """Of segments of any rank; tf2onnx has rank 1."""
    values, segments, count = node.input
    flat = _constant(graph, np.array([-1]))
    column = _constant(graph, np.array([-1, 1]))
    most = _constant(graph, np.array(np.finfo(_dtype(graph, values)).max))
    length = graph.make_node("Reshape", [_int64(graph, count), flat]).output[0]
    start = graph.make_node("Expand", [most, length]).output[0]
    there = graph.make_node("Reshape", [_int64(graph, segments), column]).output[0]
    flat_values = graph.make_node("Reshape", [values, flat]).output[0]
    _replace(graph, node, "ScatterND", [start, there, flat_values], reduction="min")


HANDLERS: dict[str, tuple[Callable, list]] = {
    "FloorMod": (_floor_mod, []),
    "FloorDiv": (_floor_div, []),
    "ScatterNd": (_scatter_nd, []),
    "UnsortedSegmentMin": (_unsorted_segment_min, []),
}


def _replace(graph: Any, node: Any, kind: str, inputs: list[str], **attr: Any) -> None:
    """Puts a node of ONNX in the place of one of TensorFlow."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    graph.remove_node(node.name)
    graph.make_node(
        kind,
        inputs,
        attr=attr,
        name=node.name,
        outputs=node.output,
        shapes=shapes,
        dtypes=dtypes,
    )


def _int64(graph: Any, tensor: str) -> str:
    from onnx import TensorProto

    attr = {"to": TensorProto.INT64}
    return graph.make_node("Cast", [tensor], attr=attr).output[0]


def _constant(graph: Any, value: np.ndarray) -> str:
    from tf2onnx import utils

    return graph.make_const(utils.make_name("constant"), value).output[0]


def _dtype(graph: Any, tensor: str) -> np.dtype:
    from tf2onnx import utils

    return np.dtype(utils.map_onnx_to_numpy_type(graph.get_dtype(tensor)))
