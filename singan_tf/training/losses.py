"""The loss terms of SinGAN, each one value per sample, float32 [B].

One value per sample, not a mean over the batch, because under a distribution
strategy gradients are summed over replicas: the caller divides by the global
batch size.
"""

from typing import Callable, Optional

import tensorflow as tf

# Keeps the square root's gradient finite where the critic is flat.
_NORM_EPSILON = 1e-12


def mean_inside(values: tf.Tensor, inside: Optional[tf.Tensor]) -> tf.Tensor:
    """The mean of each image's values, or of those that count.

    Args:
        values: float32 [B, H, W, C].
        inside: What counts, float32 [B, H, W, 1] of 0 and 1, 1 somewhere in each image;
            None for all.

    Returns:
        float32 [B].
    """
    if inside is None:
        return tf.reduce_mean(values, axis=[1, 2, 3])
    count = tf.reduce_sum(inside, axis=[1, 2, 3]) * values.shape[3]
    # Not a product: what does not count may be anything.
    counted = tf.where(inside > 0, values, 0.0)
    return tf.reduce_sum(counted, axis=[1, 2, 3]) / count


def mean_score(scores: tf.Tensor, whole: Optional[tf.Tensor] = None) -> tf.Tensor:
    """The critic's score of each image: the mean of its score map.

    Args:
        scores: float32 [B, H, W, 1].
        whole: Which of them see nothing but the inside, likewise, of 0 and 1: only
            these count. None for all.

    Returns:
        float32 [B].
    """
    return mean_inside(scores, whole)


def gradient_penalty(
    critic: Callable[[tf.Tensor], tf.Tensor],
    real: tf.Tensor,
    fake: tf.Tensor,
    mixing: tf.Tensor,
    whole: Optional[tf.Tensor] = None,
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
        whole: Which scores see nothing but the inside of the real, float32
            [B, h, w, 1] of 0 and 1: only these have gradients. None for all.

    Returns:
        float32 [B]: mean over pixels of (|gradient| - 1)^2; with `whole`, over those
        that one of these scores sees.
    """
    mixing = mixing[:, None, None, None]
    mixed = mixing * real + (1 - mixing) * fake
    with tf.GradientTape() as tape:
        tape.watch(mixed)
        scores = critic(mixed)
        if whole is not None:
            scores = tf.where(whole > 0, scores, 0.0)
    # Of the sum over the score map: a pixel counts in every patch that sees it.
    gradient = tape.gradient(scores, mixed)
    norm = tf.sqrt(tf.reduce_sum(gradient**2, axis=3) + _NORM_EPSILON)
    if whole is None:
        return tf.reduce_mean((norm - 1) ** 2, axis=[1, 2])
    return mean_inside((norm[..., tf.newaxis] - 1) ** 2, _seen(whole, real.shape[1]))


def _seen(whole: tf.Tensor, height: int) -> tf.Tensor:
    """The pixels of images of that height that some scores see, [B, H, W, 1]."""
    side = height - whole.shape[1] + 1
    beyond = [[0, 0], [side - 1, side - 1], [side - 1, side - 1], [0, 0]]
    return tf.nn.max_pool2d(tf.pad(whole, beyond), side, 1, "VALID")


def reconstruction(
    image: tf.Tensor, real: tf.Tensor, inside: Optional[tf.Tensor] = None
) -> tf.Tensor:
    """Mean squared error of each image (SinGAN, eq. 4).

    Args:
        image: float32 [B, H, W, C].
        real: Likewise.
        inside: The pixels that count, float32 [B, H, W, 1] of 0 and 1; None for all.

    Returns:
        float32 [B].
    """
    return mean_inside((image - real) ** 2, inside)


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
