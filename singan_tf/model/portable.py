"""Graphs for other runtimes: whether one is being traced.

Runtimes that are not TensorFlow's lack its random operations, and converters to them
follow no loops and branches in which networks lie. What is traced within `graphs` has
none of either: noise is made of core operations (`philox`), both sides of a branch are
computed, and loops are written out. All sizes must be known then. Outside of it,
everything here is what TensorFlow has for it.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Callable, Union

import numpy as np
import tensorflow as tf

_tracing = contextvars.ContextVar("portable", default=False)


def tracing() -> bool:
    """Whether what is called now becomes part of such a graph."""
    return _tracing.get()


@contextlib.contextmanager
def graphs() -> Iterator[None]:
    """Has what is traced within made for other runtimes.

    Functions that keep their graphs must be traced for the first time within.
    """
    token = _tracing.set(True)
    try:
        yield
    finally:
        _tracing.reset(token)


def inlined(function: Any) -> Callable:
    """A tf.function; in a portable graph what it is made of, which sees ints there."""
    return function.python_function if tracing() else function


def loop(
    end: Union[int, tf.Tensor],
    step: Union[int, tf.Tensor],
    body: Callable,
    state: tuple,
    shapes: tuple,
) -> tuple:
    """Calls a body with 0, step, 2 * step and so on, and with what it gave before.

    Args:
        end: What the numbers stay below, an int or a scalar int32 tensor; in a portable
            graph an int.
        step: Likewise, at least 1.
        body: Takes a number and the state; gives the next state, a tuple.
        state: Tensors.
        shapes: Their shapes, as all states have them.

    Returns:
        The state in the end.
    """
    if tracing():
        for number in range(0, end, step):
            state = body(number, *state)
        return state

    def call(number, *state):
        state = body(number, *state)
        return (number + step, *state)

    _, *state = tf.while_loop(
        lambda number, *_: number < end,
        call,
        (0, *state),
        (tf.TensorShape([]), *shapes),
        parallel_iterations=1,
    )
    return tuple(state)


def by_row(function: Callable, rows: tf.Tensor) -> tf.Tensor:
    """Calls a function with one row after the other, and stacks what it gives."""
    if tracing():
        return tf.stack([function(row) for row in tf.unstack(rows)])
    return tf.map_fn(function, rows, parallel_iterations=1)


def known(function: Callable, *arguments: Any) -> Any:
    """What a function gives of tensors whose values do not depend on inputs.

    A portable graph holds the values alone: of the operations that the function is made
    of, its runtime needs none.

    Args:
        function: Takes and gives a tensor or more.
        arguments: Variables or, in a portable graph, what this gave.

    Returns:
        What the function gives; in a portable graph NumPy arrays.
    """
    if not tracing():
        return function(*arguments)
    with tf.init_scope():
        return tf.nest.map_structure(np.asarray, function(*arguments))


def length(tensor: tf.Tensor, axis: int) -> Any:
    """How long an axis is: an int32 scalar, in a portable graph an int."""
    return tensor.shape[axis] if tracing() else tf.shape(tensor)[axis]
