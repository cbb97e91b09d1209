"""Moving the content of images about: where new layouts come from."""

from typing import Optional

import tensorflow as tf

from singan_tf.model import portable
from singan_tf.model.resize import resize


def displace(
    images: tf.Tensor,
    shifts: tf.Tensor,
    wrap: bool,
    freedom: Optional[tf.Tensor] = None,
) -> tf.Tensor:
    """Moves the content of images about, by whole pixels.

    Args:
        images: [B, H, W, C].
        shifts: From where each pixel is taken: float32 [B, h, w, 2], how far below and
            to the right of it, as a share of the longer side; cubic between these
            points.
        wrap: Whether what is beyond a border is at the opposite one; else it is the
            mirrored image.
        freedom: The share of its shift that each pixel takes, float32 [H, W] in [0, 1];
            None for all of it.

    Returns:
        [B, H, W, C].
    """
    height, width = (portable.length(images, axis) for axis in (1, 2))
    longer = tf.cast(tf.maximum(height, width), shifts.dtype)
    shifts = resize(shifts, height, width)
    if freedom is not None:
        shifts *= freedom[:, :, tf.newaxis]
    moves = tf.cast(tf.round(shifts * longer), tf.int32)
    rows = tf.range(height)[:, tf.newaxis] + moves[..., 0]
    columns = tf.range(width) + moves[..., 1]
    inside = _wrapped if wrap else _mirrored
    places = tf.stack([inside(rows, height), inside(columns, width)], axis=-1)
    return tf.gather_nd(images, places, batch_dims=1)


def _wrapped(position: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    return tf.math.floormod(position, side)


def _mirrored(position: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    position = tf.math.floormod(position, 2 * side)
    return tf.minimum(position, 2 * side - 1 - position)
