"""The numbers of TensorFlow's stateless random operations, in core operations.

For runtimes that have no such operations: a graph that holds this gives, of the same
seed, the noise that `tf.random.stateless_normal` and `stateless_uniform` give with
`alg="philox"`. Philox 4x32-10 is that of Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3", SC 2011.

Words of 32 bits are kept in int64, whose products wrap around: other runtimes multiply
no unsigned integers. All shifts are floored divisions, for the same reason.
"""

import math

import tensorflow as tf

_WORD = 2**32
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
# What TensorFlow scrambles seeds with, lower word first.
_SCRAMBLING_KEY = (0x3EC8F720, 0x02461E29)
_MANTISSA = 23
_LEAST_UNIFORM = 1.0e-7


def normal(seed: tf.Tensor, stream: tf.Tensor, count: int) -> tf.Tensor:
    """Standard normal numbers.

    The logarithm, the sine and the cosine are taken in double precision and rounded,
    so that they do not depend on a runtime's approximations.

    Args:
        seed: Scalar int64.
        stream: Scalar int64, the second half of TensorFlow's seed.
        count: How many numbers.

    Returns:
        float32 [count], the numbers of `tf.random.stateless_normal`, but for a last bit
        where its own logarithm, sine or cosine is rounded the other way.
    """
    words = _words(seed, stream, count)
    # Box and Muller's: pairs of words give pairs of numbers.
    first, second = _uniform(words[0::2]), _uniform(words[1::2])
    first = tf.maximum(first, _LEAST_UNIFORM)
    radius = tf.sqrt(-2.0 * _in_double(tf.math.log, first))
    angle = tf.cast(2 * math.pi * tf.cast(second, tf.float64), tf.float32)
    sides = [_in_double(function, angle) * radius for function in (tf.sin, tf.cos)]
    # From [sine or cosine, pair, group] to the order in which they are drawn.
    numbers = tf.transpose(tf.stack(sides), [2, 1, 0])
    return tf.reshape(numbers, [-1])[:count]


def uniform(seed: tf.Tensor, stream: tf.Tensor, count: int) -> tf.Tensor:
    """Uniform numbers in [0, 1), those of `tf.random.stateless_uniform`.

    Arguments are those of `normal`.

    Returns:
        float32 [count].
    """
    numbers = tf.transpose(_uniform(_words(seed, stream, count)))
    return tf.reshape(numbers, [-1])[:count]


def _words(seed: tf.Tensor, stream: tf.Tensor, count: int) -> tf.Tensor:
    """Random words for so many numbers, int64 [4, groups]."""
    halves = tf.stack([tf.cast(each, tf.int64) for each in (seed, stream)])
    counter = tf.stack([halves % _WORD, halves // _WORD % _WORD], axis=1)
    mixed = _encrypted(tf.reshape(counter, [4, 1]), tf.constant(_SCRAMBLING_KEY))
    groups = tf.range(-(-count // 4), dtype=tf.int64)[tf.newaxis]
    upper = tf.broadcast_to(mixed[2:], [2, groups.shape[1]])
    counters = tf.concat([groups, tf.zeros_like(groups), upper], axis=0)
    return _encrypted(counters, mixed[:2, 0])


def _encrypted(counters: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Philox 4x32-10 of counters int64 [4, N] with a key of two words."""
    multipliers = tf.constant(_MULTIPLIERS, tf.int64)[:, tf.newaxis]
    steps = tf.constant(_KEY_STEPS, tf.int64)[:, tf.newaxis]
    key = tf.cast(key, tf.int64)[:, tf.newaxis]
    even, odd = counters[0::2], counters[1::2]
    for _ in range(_ROUNDS):
        products = tf.gather(multipliers * even, [1, 0])
        upper = products // _WORD % _WORD
        even = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(upper, odd), key)
        odd = products % _WORD
        key = (key + steps) % _WORD
    return tf.reshape(tf.stack([even, odd], axis=1), tf.shape(counters))


def _uniform(words: tf.Tensor) -> tf.Tensor:
    """The lower bits of words as the mantissa of a number in [0, 1), float32."""
    return tf.cast(words % 2**_MANTISSA, tf.float32) * 2.0**-_MANTISSA


def _in_double(function, values: tf.Tensor) -> tf.Tensor:
    return tf.cast(function(tf.cast(values, tf.float64)), tf.float32)
