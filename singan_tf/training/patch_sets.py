"""Sets of patches: cut out of images, all of them or some, inside as a whole or not."""

import math
from collections.abc import Sequence
from typing import Optional

import tensorflow as tf

from singan_tf.model import noise

# A real [H, W, C], and which of its patches lie inside, bool [N]; None for all.
Part = tuple[tf.Tensor, Optional[tf.Tensor]]


def patches(
    image: tf.Tensor, size: int, stride: int, positions: Optional[tf.Tensor] = None
) -> tf.Tensor:
    """Cuts square patches out of an image.

    Args:
        image: [H, W, C], of static shape.
        size: Side of a patch, at most H and W.
        stride: Pixels from one patch to the next, down and across.
        positions: int32 [N], which patches, counted row by row; None for all.

    Returns:
        [N, size * size * C], each patch row by row.
    """
    width, channels = image.shape[1:]
    rows, columns = grid_of(image, size, stride)
    if positions is None:
        positions = tf.range(rows * columns)
    corner = (positions // columns * width + positions % columns) * stride
    inside = tf.reshape(tf.range(size)[:, None] * width + tf.range(size), [-1])
    pixels = tf.gather(tf.reshape(image, [-1, channels]), corner[:, None] + inside)
    return tf.reshape(pixels, [-1, size * size * channels])


def parts_of(
    real: tf.Tensor, inside: Optional[tf.Tensor], size: int, stride: int
) -> list[Part]:
    """The rows of photographs with their parts that count.

    Args:
        real: [B, H, W, C].
        inside: What counts of it, float32 [B, H, W, 1] of 0 and 1; None for all.
        size: Side of a patch.
        stride: Pixels between patches.
    """
    rows = tf.unstack(tf.convert_to_tensor(real))
    if inside is None:
        return [(row, None) for row in rows]
    within = -tf.nn.max_pool2d(-inside, size, stride, "VALID")
    return [
        (row, tf.reshape(whole, [-1]) > 0)
        for row, whole in zip(rows, tf.unstack(within))
    ]


def patches_of_all(parts: Sequence[Part], size: int, stride: int) -> Part:
    """`patches` of several reals [N, D], and which of them lie inside."""
    return together([(patches(image, size, stride), whole) for image, whole in parts])


def together(found: Sequence[Part]) -> Part:
    """Rows [N, D] of several, and which of them lie inside, bool [N]; None for all."""
    rows = tf.concat([each for each, _ in found], axis=0)
    if all(whole is None for _, whole in found):
        return rows, None
    wholes = [
        tf.ones([each.shape[0]], tf.bool) if whole is None else whole
        for each, whole in found
    ]
    return rows, tf.concat(wholes, axis=0)


def grid_of(image: tf.Tensor, size: int, stride: int) -> tuple[int, int]:
    """How many patches there are down and across."""
    return tuple((side - size) // stride + 1 for side in image.shape[:2])


def subset(
    image: tf.Tensor,
    size: int,
    stride: int,
    count: int,
    seed: tf.Tensor,
    whole: Optional[tf.Tensor] = None,
) -> Optional[tf.Tensor]:
    """Positions of `count` different random patches, int32; None for all.

    Args:
        image: [H, W, C].
        size: Side of a patch.
        stride: Pixels between patches.
        count: 0 for all.
        seed: int64 [1].
        whole: Those that may be chosen, bool [N], as in `some_inside`; None for all.
    """
    total = math.prod(grid_of(image, size, stride))
    if not 0 < count < total:
        return None
    if whole is not None:
        return some_inside(whole, total, count, seed)
    lots = noise.uniform(seed, noise.PATCH_STREAM, total)[0]
    return tf.math.top_k(lots, count, sorted=False).indices


def some_inside(whole: tf.Tensor, total: int, count: int, seed: tf.Tensor) -> tf.Tensor:
    """Positions of `count` random patches that lie inside, in turn if fewer do.

    Args:
        whole: Which are, bool [total].
        total: How many patches there are.
        count: At most as many.
        seed: int64 [1].

    Returns:
        int32 [count].
    """
    lots = noise.uniform(seed, noise.PATCH_STREAM, total)[0]
    found = tf.math.top_k(tf.where(whole, lots, -1.0), count).indices
    number = tf.minimum(tf.reduce_sum(tf.cast(whole, tf.int32)), count)
    return tf.gather(found, tf.range(count) % number)
