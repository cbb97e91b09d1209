"""The normalisations that Keras 2 lacks, or does otherwise over several devices.

Instance and spectral normalisation are those of tensorflow-addons where that is
installed. It ends at TensorFlow 2.15; the layers for later ones give the same numbers
and have the same variables by the same names, so checkpoints fit both.
"""

import importlib
import warnings
from typing import Any

import tensorflow as tf

from singan_tf.keras2 import HAS_ADDONS, keras


def instance_normalization(**arguments: Any) -> keras.layers.Layer:
    """A layer that normalises each channel of each image by itself.

    Ulyanov et al., "Instance Normalization: The Missing Ingredient for Fast
    Stylization", 2016.

    Args:
        **arguments: Of Keras' GroupNormalization, but for the number of groups.
    """
    if HAS_ADDONS:
        return tensorflow_addons().layers.InstanceNormalization(**arguments)
    return InstanceNormalization(**arguments)


def spectral_normalization(
    layer: keras.layers.Layer, **arguments: Any
) -> keras.layers.Layer:
    """A layer whose kernel is kept at a spectral norm of 1.

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR
    2018, algorithm 1, with one step of the power iteration for each training call.

    Args:
        layer: It has a kernel [..., outputs].
        **arguments: Of every layer of Keras.
    """
    if HAS_ADDONS:
        return tensorflow_addons().layers.SpectralNormalization(layer, **arguments)
    return SpectralNormalization(layer, **arguments)


def tensorflow_addons() -> Any:
    """Imports tensorflow-addons where it is needed: it warns and takes a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("tensorflow_addons")


class InstanceNormalization(keras.layers.GroupNormalization):
    """Group normalisation of groups of one channel."""

    def __init__(self, **arguments: Any):
        """Takes what Keras' GroupNormalization does, but for the number of groups."""
        super().__init__(groups=-1, **arguments)


class SpectralNormalization(keras.layers.Wrapper):
    """Divides the kernel of a layer by its spectral norm at each training call.

    Attributes:
        w: The kernel.
        u: The estimate of its first left singular vector, float32 [1, outputs].
    """

    def build(self, input_shape) -> None:
        """Builds the layer inside, and creates the vector."""
        super().build(input_shape)
        self.w = self.layer.kernel
        self.u = self.add_weight(
            name="sn_u",
            shape=[1, self.w.shape[-1]],
            dtype=self.w.dtype,
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
        )

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Calls the layer inside; in training, it normalises the kernel first."""
        if training:
            self._normalize()
        return self.layer(inputs)

    def _normalize(self) -> None:
        matrix = tf.reshape(self.w, [-1, self.w.shape[-1]])
        right = tf.math.l2_normalize(tf.matmul(self.u, matrix, transpose_b=True))
        left = tf.math.l2_normalize(tf.matmul(right, matrix))
        left, right = tf.stop_gradient(left), tf.stop_gradient(right)
        norm = tf.matmul(tf.matmul(right, matrix), left, transpose_b=True)
        self.u.assign(tf.cast(left, self.u.dtype))
        kernel = tf.reshape(self.w / norm, self.w.shape)
        self.w.assign(tf.cast(kernel, self.w.dtype))


class SynchronizedBatchNormalization(keras.layers.Layer):
    """Batch norm over the samples of all replicas: what one device computes.

    Each replica must have as many samples. The moving averages of replicas are the
    same numbers, so reading them needs no word from other replicas or machines. The
    layer of Keras takes the variance as a difference of large numbers, and moves its
    average towards another one than its own layer for one device does.
    """

    def __init__(self, momentum: float, epsilon: float, gamma_initializer, dtype):
        """Takes what `keras.layers.BatchNormalization` does."""
        super().__init__(dtype=dtype)
        self.momentum = momentum
        self.epsilon = epsilon
        self._gamma_initializer = gamma_initializer

    def build(self, input_shape) -> None:
        """Creates the variables under the names of Keras, so checkpoints fit both."""

        def add(name, initializer, **arguments):
            return self.add_weight(
                name,
                [input_shape[-1]],
                tf.float32,
                initializer,
                experimental_autocast=False,
                **arguments,
            )

        equal = {
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        self.gamma = add("gamma", self._gamma_initializer)
        self.beta = add("beta", "zeros")
        self.moving_mean = add("moving_mean", "zeros", **equal)
        self.moving_variance = add("moving_variance", "ones", **equal)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalises [B, H, W, C]; in training, by the global batch's statistics."""
        exact = tf.cast(inputs, tf.float32)
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = self._statistics(exact)
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast((exact - mean) * scale + self.beta, inputs.dtype)

    def _statistics(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance over all replicas, which the moving averages follow."""
        context = tf.distribute.get_replica_context()
        # tf.nn.moments has no second derivatives, which the gradient penalty needs.
        mean = tf.reduce_mean(inputs, [0, 1, 2])
        variance = tf.math.reduce_variance(inputs, [0, 1, 2])
        # At once, as each of many messages waits for the slowest replica.
        mean, variance, square = tf.unstack(
            context.all_reduce(
                tf.distribute.ReduceOp.MEAN, tf.stack([mean, variance, mean**2])
            )
        )
        variance += square - mean**2
        count = tf.size(inputs[..., 0]) * context.num_replicas_in_sync
        count = tf.cast(count, tf.float32)
        for moving, value in (
            (self.moving_mean, mean),
            # Of the population, as the layer of one device estimates it.
            (self.moving_variance, variance * count / (count - 1)),
        ):
            moving.assign_sub((moving - value) * (1 - self.momentum))
        return mean, variance


def is_batch_normalization(layer: keras.layers.Layer) -> bool:
    """Whether a layer is what `normalize_inside` takes."""
    kinds = keras.layers.BatchNormalization, SynchronizedBatchNormalization
    return isinstance(layer, kinds)


def normalize_inside(
    layer: keras.layers.Layer, inputs: tf.Tensor, inside: tf.Tensor
) -> tf.Tensor:
    """Batch norm in training whose statistics are those of some positions.

    With all positions it is what the layer itself does.

    Args:
        layer: Built; its moving averages follow the statistics.
        inputs: [B, H, W, C].
        inside: The positions that count, float32 [B, H, W, 1] of 0 and 1, 1 somewhere.

    Returns:
        [B, H, W, C], all positions normalised.
    """
    exact = tf.cast(inputs, tf.float32)

    def total(values: tf.Tensor) -> tf.Tensor:
        sums = tf.reduce_sum(values, [0, 1, 2])
        if isinstance(layer, SynchronizedBatchNormalization):
            context = tf.distribute.get_replica_context()
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        return sums

    count = total(inside)
    mean = total(inside * exact) / count
    squares = total(inside * (exact - mean) ** 2)
    for moving, value in (
        (layer.moving_mean, mean),
        # Of the population, as the layers estimate it.
        (layer.moving_variance, squares / tf.maximum(count - 1, 1)),
    ):
        moving.assign_sub((moving - value) * (1 - layer.momentum))
    scale = layer.gamma * tf.math.rsqrt(squares / count + layer.epsilon)
    return tf.cast((exact - mean) * scale + layer.beta, inputs.dtype)
