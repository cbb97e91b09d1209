"""Rows of requests in a graph: checked together, computed one after the other.

Nothing is trusted: a graph in a server has no Python around it, so the ranges of the
inputs are checked by operations in the graph that every result depends on. Shapes are
checked, too, because a C++ session takes a tensor of any shape for any input.
"""

from collections.abc import Sequence
from typing import Callable, Union

import tensorflow as tf

from export.inputs import Input, Limits

# A message of gRPC has less than 2 GiB; this leaves room for what is around an answer.
MAX_ANSWER_BYTES = 2**31 - 2**16

# Tensors by the name of the input.
Rows = dict[str, tf.Tensor]


def checked(known: dict[str, Input], limits: Limits, rows: Rows) -> Rows:
    """Checks ranks and numbers of rows."""
    rows = {
        name: tf.ensure_shape(tensor, known[name].shape, name=f"{name}_shape")
        for name, tensor in rows.items()
    }
    counts = {name: tf.shape(tensor)[0] for name, tensor in rows.items()}
    most = tf.reduce_max(tf.stack(list(counts.values())))
    rules = []
    for name, count in counts.items():
        sentence = f"{name} must have from 1 to {limits.max_batch} rows, not {{}}"
        refused = outside(count, 1, limits.max_batch)
        rules.append(require(~refused, sentence, count))
        sentence = (
            f"{name} must have 1 row or as many as the other inputs, {{}}, not {{}}"
        )
        rules.append(require((count == 1) | (count == most), sentence, most, count))
    return after(rows, *rules)


def equal(rows: Rows, *names: str) -> Rows:
    """Checks that inputs are the same in all rows."""
    return after(
        rows,
        *(
            require(
                rows[name] == rows[name][:1],
                f"{name} must be the same in all rows, not {{}}",
                rows[name],
            )
            for name in names
        ),
    )


def fitting(rows: Rows, size: Sequence[Union[int, tf.Tensor]], channels: int) -> Rows:
    """Checks that an answer of arrays fits into a message, before it is computed."""
    counts = [tf.shape(tensor, tf.int64)[0] for tensor in rows.values()]
    made = tf.reduce_max(tf.stack(counts)) * size[0] * size[1] * channels
    sentence = (
        "rows x height x width x channels of an answer must be at most "
        f"{MAX_ANSWER_BYTES}, not {{}}; ask for fewer rows at a time, or for PNG"
    )
    return after(rows, require(made <= MAX_ANSWER_BYTES, sentence, made))


def outside(values: tf.Tensor, least: float, most: float) -> tf.Tensor:
    """Which values are not from the least to the most, or not numbers."""
    # Negated so that NaN, which compares false, is outside.
    return ~((values >= least) & (values <= most))


def refuse(
    known: dict[str, Input], name: str, refused: tf.Tensor, shown: Rows
) -> tf.Operation:
    """Refuses an input whose range is left, with the values that are shown."""
    sentence = f"{name} must be {known[name].range}, not {{}}"
    return require(~refused, sentence, shown[name])


def require(condition: tf.Tensor, sentence: str, *values: tf.Tensor) -> tf.Operation:
    """Requires a condition in all rows, with values in the sentence where it has {}."""
    message = tf.strings.format(sentence, values)
    return tf.debugging.Assert(tf.reduce_all(condition), [message])


def after(rows: Rows, *checks: tf.Operation) -> Rows:
    """The same tensors, for whom nobody can ask without the checks being made."""
    with tf.control_dependencies(checks):
        return {name: tf.identity(tensor) for name, tensor in rows.items()}


def map_rows(
    function: Callable[[Rows], tf.Tensor], rows: Rows, spec: tf.TensorSpec
) -> tf.Tensor:
    """Calls a function with one row after the other, and stacks what it gives."""
    counts = {name: tf.shape(tensor)[0] for name, tensor in rows.items()}
    batch = tf.reduce_max(tf.stack(list(counts.values())))

    def call(index: tf.Tensor) -> tf.Tensor:
        row = {
            name: tensor[tf.minimum(index, counts[name] - 1)]
            for name, tensor in rows.items()
        }
        return function(row)

    return tf.map_fn(
        call, tf.range(batch), parallel_iterations=1, fn_output_signature=spec
    )
