"""Where the previous images come from that a scale is trained on.

There are three sources: a walk through the coarser stages for every update; a pool of
samples that is drawn once and carried from scale to scale; and zeros at scale 0, which
has nothing below it. A source is a function of seeds, int64 [B], to images at the
scale's size, float32 [B, H, W, C]: whoever asks it need not know which it is.
"""

import logging
from typing import Callable, Optional

import tensorflow as tf

from singan_tf.config import TrainingConfig
from singan_tf.model import noise
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.training import draws

logger = logging.getLogger(__name__)

Source = Callable[[tf.Tensor], tf.Tensor]


def make_source(
    coarser: SinGAN,
    pool: Optional[tf.Tensor],
    prepare: Callable[[tf.Tensor], tf.Tensor],
) -> Source:
    """Makes the source of the scale above a pyramid.

    Args:
        coarser: The stages below the scale.
        pool: Samples of theirs to choose from, float32 [pool, h, w, C]; None to draw
            one for every update.
        prepare: What is done to previous images, such as padding: once to a pool.

    Returns:
        A function of seeds to prepared images.
    """
    scale = len(coarser.stages)
    size = coarser.sizes[scale]
    if pool is not None:
        return choice(prepare(bring_up(pool, size)))
    draw = zeros(size, coarser.channels) if scale == 0 else walk(coarser, size)
    return lambda seeds: prepare(draw(seeds))


def zeros(size: tuple[int, int], channels: int) -> Source:
    """A source of zeros, for scale 0."""
    return lambda seeds: tf.zeros([seeds.shape[0], *size, channels])


def walk(coarser: SinGAN, size: tuple[int, int]) -> Source:
    """A source that walks through all coarser stages for every image."""
    return lambda seeds: bring_up(coarser.sample(seeds), size)


def choice(images: tf.Tensor) -> Source:
    """A source that chooses from images, float32 [N, H, W, C]."""

    def draw(seeds):
        lot = noise.uniform(seeds, noise.PREVIOUS_STREAM, 1)[:, 0]
        return tf.gather(images, tf.cast(lot * images.shape[0], tf.int32))

    return draw


def reconstruction(coarser: SinGAN) -> tf.Tensor:
    """The previous image of which a scale is to reconstruct the photograph.

    Args:
        coarser: The stages below the scale.

    Returns:
        Their reconstruction at the scale's size, float32 [1, H, W, C] in [-1, 1];
        zeros at scale 0.
    """
    scale = len(coarser.stages)
    size = coarser.sizes[scale]
    if scale == 0:
        return tf.zeros([1, *size, coarser.channels])
    return bring_up(coarser.reconstruct(), size)


def draw_pool(
    singan: SinGAN, pool: Optional[tf.Tensor], config: TrainingConfig
) -> Optional[tf.Tensor]:
    """Samples that a scale trains on, from those that the scale below trained on.

    The same samples are carried from scale to scale: each costs a pass through one
    stage, where drawing new ones would cost a walk through all.

    Args:
        singan: The stages of the coarser scales.
        pool: Samples of all but the last of them, float32 [pool, h, w, C]; None before
            the second stage.
        config: The number of samples, and the seed.

    Returns:
        Samples of all stages, float32 [pool, H, W, C]; None without stages, or if
        there is to be no pool.
    """
    scale = len(singan.stages) - 1
    if scale < 0 or not config.previous_pool:
        return None
    seeds = draws.pool_seeds(config.seed, config.previous_pool, singan.photograph)
    logger.info("Drawing %d samples of scale %d.", config.previous_pool, scale)
    return tf.concat(
        [
            singan.draw(
                scale, None if pool is None else pool[i : i + 1], seeds[i : i + 1]
            )
            for i in range(config.previous_pool)
        ],
        axis=0,
    )


def draw_pool_of(singan: SinGAN, config: TrainingConfig) -> Optional[tf.Tensor]:
    """The pool as it has become at the last of the stages; see `draw_pool`."""
    pool = None
    for count in range(1, len(singan.stages) + 1):
        pool = draw_pool(singan.coarsest(count), pool, config)
    return pool
