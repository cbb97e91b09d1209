"""The loss terms of SinGAN, each one value per sample, float32 [B].

One value per sample, not a mean over the batch, because under a distribution
strategy gradients are summed over replicas: the caller divides by the global
batch size.
"""

from typing import Callable

import tensorflow as tf

# Keeps the square root's gradient finite where the critic is flat.
_NORM_EPSILON = 1e-12


def mean_score(scores: tf.Tensor) -> tf.Tensor:
    """The critic's score of each image: the mean of its score map [B, H, W, 1]."""
    return tf.reduce_mean(scores, axis=[1, 2, 3])


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    mixing: tf.Tensor,
) -> tf.Tensor:
    """Penalty that keeps the critic 1-Lipschitz for every patch.

    WGAN-GP (Gulrajani et al. 2017, eq. 3) with the norm taken over channels at
    each pixel, as in the reference code, in place of the whole image's norm.

    Args:
        critic: Maps images to score maps.
        real: float32 [B, H, W, C].
        fake: Same shape.
        mixing: float32 [B], each in [0, 1]: the real's share in the image at which
            the gradient is taken.

    Returns:
        float32 [B]: mean over pixels of (|gradient| - 1)^2.
    """
    mixing = mixing[:, None, None, None]
    mixed = mixing * real + (1 - mixing) * fake
    with tf.GradientTape() as tape:
        tape.watch(mixed)
        scores = critic(mixed)
    # Of the sum over the score map: a pixel counts in every patch that sees it.
    gradient = tape.gradient(scores, mixed)
    norm = tf.sqrt(tf.reduce_sum(gradient**2, axis=3) + _NORM_EPSILON)
    return tf.reduce_mean((norm - 1) ** 2, axis=[1, 2])


def reconstruction(image: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """Mean squared error of each image, float32 [B] (SinGAN, eq. 4)."""
    return tf.reduce_mean((image - real) ** 2, axis=[1, 2, 3])


def gram(activations: tf.Tensor) -> tf.Tensor:
    """How the channels of activations go together, wherever they are in the image.

    Args:
        activations: float32 [B, h, w, D].

    Returns:
        float32 [B, D, D]: means over positions of the products of two channels.
    """
    positions = tf.cast(activations.shape[1] * activations.shape[2], tf.float32)
    return tf.einsum("bhwi,bhwj->bij", activations, activations) / positions


def texture(grams: list[tf.Tensor], real: list[tf.Tensor]) -> tf.Tensor:
    """How far the texture of images is from the photograph's (Gatys et al., 2015).

    Each layer's squared difference is a share of the photograph's own square, so that
    one weight suits every layer, image and set of weights.

    Args:
        grams: By `gram`, of each layer, float32 [B, D, D].
        real: The photograph's, likewise, or [1, D, D].

    Returns:
        float32 [B]: the mean over layers.
    """
    shares = [
        tf.reduce_sum((found - wanted) ** 2, axis=[1, 2])
        / (tf.reduce_sum(wanted**2, axis=[1, 2]) + _NORM_EPSILON)
        for found, wanted in zip(grams, real)
    ]
    return tf.reduce_mean(shares, axis=0)
