"""The one resize of the program: antialiased cubic, to an exact output size.

It computes what MATLAB's `imresize(image, [height width])` computes (cubic kernel
with a = -0.5, widened when shrinking, mirrored borders), as two matrix products:
in float, differentiable, on whichever device the image is, for sizes known or not
known when a graph is traced.
"""

from typing import Union

import tensorflow as tf

Size = Union[int, tf.Tensor]


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
    if not (_same(image.shape[1], height)):
        rows = _weights(tf.shape(image)[1], height)
        image = tf.einsum("oh,bhwc->bowc", rows, image)
    if not (_same(image.shape[2], width)):
        columns = _weights(tf.shape(image)[2], width)
        image = tf.einsum("pw,bowc->bopc", columns, image)
    return image


def _same(known: Union[int, None], asked: Size) -> bool:
    return isinstance(asked, int) and known == asked


def _weights(source: Size, target: Size) -> tf.Tensor:
    """Interpolation matrix, float32 [target, source]; its rows sum to 1."""
    source = tf.cast(source, tf.int32)
    target = tf.cast(target, tf.int32)
    scale = tf.cast(target, tf.float64) / tf.cast(source, tf.float64)
    sharpness = tf.minimum(scale, 1.0)
    support = 4.0 / sharpness
    centre = (tf.cast(tf.range(target), tf.float64) + 0.5) / scale - 0.5
    first = tf.floor(centre - support / 2)
    taps = tf.cast(tf.math.ceil(support), tf.int32) + 2
    position = first[:, None] + tf.cast(tf.range(taps), tf.float64)[None]
    weight = _cubic(sharpness * (centre[:, None] - position))
    weight /= tf.reduce_sum(weight, axis=1, keepdims=True)
    column = tf.math.floormod(tf.cast(position, tf.int32), 2 * source)
    column = tf.where(column < source, column, 2 * source - 1 - column)
    row = tf.broadcast_to(tf.range(target)[:, None], tf.shape(column))
    # Mirrored taps fall on the same column; scatter_nd adds them up.
    matrix = tf.scatter_nd(
        tf.stack([row, column], axis=-1), weight, tf.stack([target, source])
    )
    return tf.cast(matrix, tf.float32)


def _cubic(x: tf.Tensor) -> tf.Tensor:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15)."""
    x = tf.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return tf.where(x <= 1, near, tf.where(x <= 2, far, tf.zeros_like(x)))
