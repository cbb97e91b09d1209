"""The numbers of core operations against TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf

from singan_tf.model import noise, philox

SEEDS = [0, 1, -1, 2**31, 2**40 + 3, 2**63 - 1, -(2**63), *range(-9, 40, 7)]
STREAMS = [0, 1, 7, noise.RECONSTRUCTION_STREAM, -3]


def drawn(function, count):
    """The numbers of all seeds and streams, from one graph."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)] * 2, autograph=False)
    def graph(seed, stream):
        return function(seed, stream, count)

    pairs = [(seed, stream) for seed in SEEDS for stream in STREAMS]
    return np.stack([graph(*pair) for pair in pairs])


def tensorflows(function):
    def draw(seed, stream, count):
        return function([count], tf.stack([seed, stream]), alg="philox")

    return draw


# A group of words is four: whole ones, and parts of one.
@pytest.mark.parametrize("count", [1, 4, 39, 1024])
def test_uniform_numbers_are_tensorflows(count):
    found = drawn(philox.uniform, count)
    assert found.dtype == np.float32 and found.shape == (len(found), count)
    expected = drawn(tensorflows(tf.random.stateless_uniform), count)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("count", [1, 4, 39, 1024])
def test_normal_numbers_are_tensorflows_but_for_a_last_bit(count):
    found = drawn(philox.normal, count)
    assert found.dtype == np.float32 and found.shape == (len(found), count)
    expected = drawn(tensorflows(tf.random.stateless_normal), count)
    # A product of two roundings: a root of a logarithm, and a sine or a cosine.
    np.testing.assert_array_max_ulp(found, expected, maxulp=2)
    assert (found != expected).mean() < 0.2
