"""The one resize of the program: antialiased cubic, to an exact output size.

It computes what MATLAB's `imresize(image, [height width])` computes (cubic kernel
with a = -0.5, widened when shrinking, mirrored borders), as matrix products along each
axis: in float, differentiable, on whichever device the image is, for sizes known or
not known when a graph is traced. Where an axis is long, each block of outputs is
multiplied with the inputs that it is made of alone, so that time and memory grow with
the pixels and not with the square of a side.
"""

import functools
from typing import Callable, NamedTuple, Union

import tensorflow as tf

Size = Union[int, tf.Tensor]

# An axis that is nowhere longer than this is resized by one matrix, which is faster
# there; of a longer one, so many outputs at a time.
_SHORT = 256
_BLOCK = 64


class _Taps(NamedTuple):
    """The inputs of some outputs along an axis.

    Attributes:
        first: The position of each output's first tap, which may lie before the first
            input, int32 [outputs].
        column: The input that each tap falls on, int32 [outputs, taps].
        weight: The weights of the taps, whose sum is 1, float64 [outputs, taps].
    """

    first: tf.Tensor
    column: tf.Tensor
    weight: tf.Tensor


def resize(image: tf.Tensor, height: Size, width: Size) -> tf.Tensor:
    """Resizes images to height x width, with the exact scale on each axis.

    Args:
        image: float32 [B, H, W, C].
        height: Output height in pixels, an int or a scalar integer tensor.
        width: Output width in pixels, likewise.

    Returns:
        float32 [B, height, width, C]. Cubic interpolation overshoots at edges: the
        range may exceed the input's.
    """
    for axis, side in ((1, height), (2, width)):
        source = image.shape[axis]
        if source is None or not isinstance(side, int):
            image = _by_what_fits(image, axis, side)
        elif source != side:
            way = _by_one_matrix if max(source, side) <= _SHORT else _by_blocks
            image = way(image, axis, side)
    return image


def _by_what_fits(image: tf.Tensor, axis: int, target: Size) -> tf.Tensor:
    """Resizes along one axis where only the running graph knows the lengths."""
    resized = _resizer(axis)(image, tf.cast(target, tf.int32))
    side = target if isinstance(target, int) else None
    resized.set_shape([*image.shape[:axis], side, *image.shape[axis + 1 :]])
    return resized


@functools.cache
def _resizer(axis: int) -> Callable:
    """`_by_what_fits` as a graph of its own, which a pyramid has once for all scales.

    A copy for each would take most of the seconds in which a sampler is traced and a
    server optimizes a model.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec([None] * 4, tf.float32),
            tf.TensorSpec([], tf.int32),
        ],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
    def resized(image, length):
        longer = tf.maximum(tf.shape(image)[axis], length)
        # One block is one matrix. A branch for each would double the graph.
        block = tf.where(longer <= _SHORT, length, _BLOCK)
        return _by_blocks(image, axis, length, block)

    return resized


def _by_one_matrix(image: tf.Tensor, axis: int, target: Size) -> tf.Tensor:
    """Resizes along one axis, all outputs at once."""
    source, target = tf.shape(image)[axis], tf.cast(target, tf.int32)
    outputs = tf.range(target)
    taps = _taps(outputs, source, target)
    matrix = _matrix(outputs, taps.column, taps.weight, [target, source])
    return tf.einsum("oh,bhwc->bowc" if axis == 1 else "pw,bowc->bopc", matrix, image)


def _by_blocks(
    image: tf.Tensor, axis: int, target: Size, block: Size = _BLOCK
) -> tf.Tensor:
    """The same for a long axis: a matrix for each of its blocks."""
    source, length = tf.shape(image)[axis], tf.cast(target, tf.int32)
    blocks = -(-length // block)
    # The last ones may lie beyond the axis and are cut off.
    outputs = tf.range(blocks * block)
    taps = _taps(outputs, source, length)
    # A block's inputs are from its first output's first tap to its last one's last. At
    # a border, taps are mirrored into as many of the inputs that are next to it.
    apart = tf.cast(source, tf.float64) / tf.cast(length, tf.float64)
    reach = tf.cast(tf.math.ceil(tf.cast(block, tf.float64) * apart), tf.int32)
    inputs = tf.minimum(reach + tf.shape(taps.column)[1], source)
    firsts = tf.gather(taps.first, tf.range(blocks) * block)
    start = tf.clip_by_value(firsts, 0, source - inputs)
    column = taps.column - tf.repeat(start, block)[:, None]
    matrix = _matrix(outputs, column, taps.weight, [blocks * block, inputs])
    matrices = tf.reshape(matrix, tf.stack([blocks, block, inputs]))
    windows = tf.gather(image, start[:, None] + tf.range(inputs), axis=axis)
    if axis == 1:
        joined = tf.einsum("koh,bkhwc->bkowc", matrices, windows)
    else:
        joined = tf.einsum("kpw,bokwc->bokpc", matrices, windows)
    shape = tf.shape(image)
    joined = tf.reshape(joined, tf.concat([shape[:axis], [-1], shape[axis + 1 :]], 0))
    joined = joined[:, :target] if axis == 1 else joined[:, :, :target]
    side = target if isinstance(target, int) else None
    joined.set_shape([*image.shape[:axis], side, *image.shape[axis + 1 :]])
    return joined


def _taps(outputs: tf.Tensor, source: tf.Tensor, target: tf.Tensor) -> _Taps:
    """Where outputs, int32 [N], come from if `source` inputs become `target`."""
    scale = tf.cast(target, tf.float64) / tf.cast(source, tf.float64)
    sharpness = tf.minimum(scale, 1.0)
    support = 4.0 / sharpness
    centre = (tf.cast(outputs, tf.float64) + 0.5) / scale - 0.5
    first = tf.floor(centre - support / 2)
    taps = tf.cast(tf.math.ceil(support), tf.int32) + 2
    position = first[:, None] + tf.cast(tf.range(taps), tf.float64)[None]
    weight = _cubic(sharpness * (centre[:, None] - position))
    weight /= tf.reduce_sum(weight, axis=1, keepdims=True)
    column = tf.math.floormod(tf.cast(position, tf.int32), 2 * source)
    column = tf.where(column < source, column, 2 * source - 1 - column)
    return _Taps(tf.cast(first, tf.int32), column, weight)


def _matrix(outputs: tf.Tensor, column: tf.Tensor, weight: tf.Tensor, shape: list):
    """The weights of taps as a matrix, float32 [outputs, inputs]."""
    row = tf.broadcast_to(outputs[:, None], tf.shape(column))
    # Mirrored taps fall on the same column; scatter_nd adds them up.
    matrix = tf.scatter_nd(tf.stack([row, column], axis=-1), weight, tf.stack(shape))
    return tf.cast(matrix, tf.float32)


def _cubic(x: tf.Tensor) -> tf.Tensor:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15)."""
    x = tf.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return tf.where(x <= 1, near, tf.where(x <= 2, far, tf.zeros_like(x)))
