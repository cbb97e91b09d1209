"""Random numbers as pure functions of a seed: no generator state, nothing to save.

Every sample has a seed of its own, one int64, and every use of randomness within
a sample a stream number, so a row of a batch never depends on its neighbours. The
algorithm is pinned (Philox), so that CPU and GPU draw the same numbers.
"""

import math

import tensorflow as tf

from singan_tf.model import philox, portable

# Streams 0, 1, 2, ... are the noise maps of the scales.
RECONSTRUCTION_STREAM = 1_000
PREVIOUS_STREAM = 1_001
MIXING_STREAM = 1_002
FAKE_CROP_STREAM = 1_003
REAL_CROP_STREAM = 1_004
PATCH_STREAM = 1_005
PROJECTION_STREAM = 1_006
# And as many more, one for each photograph after the first.
FURTHER_RECONSTRUCTION_STREAM = 2_000


def normal(seeds: tf.Tensor, stream: int, shape) -> tf.Tensor:
    """Standard normal numbers, row by row.

    Args:
        seeds: int64 [B], one for each row.
        stream: Which of a seed's independent streams.
        shape: Of one row: ints or scalar tensors.

    Returns:
        float32 [B, *shape]; row i depends on seeds[i] alone.
    """

    def row(seed):
        if portable.tracing():
            numbers = philox.normal(seed, stream, math.prod(shape))
            return tf.reshape(numbers, shape)
        return tf.random.stateless_normal(shape, [seed, stream], alg="philox")

    return _by_row(row, seeds, tf.float32)


def uniform(seeds: tf.Tensor, stream: int, count: int) -> tf.Tensor:
    """Uniform numbers in [0, 1), float32 [B, count]; see `normal`."""

    def row(seed):
        if portable.tracing():
            return philox.uniform(seed, stream, count)
        return tf.random.stateless_uniform([count], [seed, stream], alg="philox")

    return _by_row(row, seeds, tf.float32)


def derive_seeds(seed: int, counter: tf.Tensor, count: int) -> tf.Tensor:
    """Seeds for a batch, int64 [count], from a run's seed and a counter.

    Args:
        seed: The run's.
        counter: Scalar int64; different counters give unrelated seeds.
        count: How many seeds.
    """
    return tf.random.stateless_uniform(
        [count],
        tf.stack([tf.constant(seed, tf.int64), tf.cast(counter, tf.int64)]),
        minval=None,
        maxval=None,
        dtype=tf.int64,
        alg="philox",
    )


def _by_row(function, seeds: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    seeds = tf.convert_to_tensor(seeds, tf.int64)
    if seeds.shape[0] is None:
        return tf.map_fn(function, seeds, fn_output_signature=dtype)
    return tf.stack([function(seed) for seed in tf.unstack(seeds)])
