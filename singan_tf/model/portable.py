"""Graphs for other runtimes: whether one is being traced.

Runtimes that are not TensorFlow's lack its random operations, and converters to them
follow no loops and branches in which networks lie. What is traced within `graphs` has
none of either: noise is made of core operations (`philox`), both sides of a branch are
computed, and loops are written out. All sizes must be known then.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Callable

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


def repeat(count: tf.Tensor, body: Callable, state: tuple, shapes: tuple) -> Any:
    """Calls a body with what it gave before, so many times.

    Args:
        count: How often, an int or a scalar int32 tensor; in a portable graph an int.
        body: Takes the number of the call, from 0, and the state; gives the state.
        state: Tensors.
        shapes: Theirs, as all states have them.

    Returns:
        The state in the end, a tuple.
    """
    if tracing():
        for index in range(count):
            state = body(index, *state)
        return state
    _, *state = tf.while_loop(
        lambda index, *_: index < count,
        lambda index, *state: (index + 1, *body(index, *state)),
        (0, *state),
        (tf.TensorShape([]), *shapes),
        parallel_iterations=1,
    )
    return tuple(state)


def known(function: Callable, *arguments: tf.Tensor) -> Any:
    """What a function gives of tensors whose values do not depend on inputs.

    A portable graph holds it as a constant: of what the function is made of, it needs
    nothing. The arguments are variables then, or what this gave.
    """
    if tracing():
        with tf.init_scope():
            return function(*arguments)
    return function(*arguments)


def by_row(function: Callable, rows: tf.Tensor) -> tf.Tensor:
    """Calls a function with one row after the other, and stacks what it gives."""
    if tracing():
        return tf.stack([function(row) for row in tf.unstack(rows)])
    return tf.map_fn(function, rows, parallel_iterations=1)


def length(tensor: tf.Tensor, axis: int) -> Any:
    """How long an axis is: an int32 scalar, in a portable graph an int."""
    return tensor.shape[axis] if tracing() else tf.shape(tensor)[axis]
