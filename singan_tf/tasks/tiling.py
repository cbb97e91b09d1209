"""Seamless tiles: samples whose borders continue each other.

Every step takes the borders to meet: what a network sees beyond one is what is at the
opposite one, patches lie across, and images are resized as the middle of a plane of
themselves. Whatever moves all noise around such a circle moves the tile as far, so a
tile has no place where it begins.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from singan_tf.model import pyramid
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.resize import resize
from singan_tf.model.singan import SinGAN
from singan_tf.model.stage import Stage


def draw_tile(
    singan: SinGAN, seed: int, height: int, width: int, noise_scale: float = 1.0
) -> np.ndarray:
    """Draws a tile.

    Args:
        singan: The trained pyramid, whatever padding it was trained with.
        seed: The seed of the noise.
        height: Of the tile, in pixels.
        width: Likewise.
        noise_scale: Multiplies the noise of every scale.

    Returns:
        float32 [1, height, width, C] in [-1, 1].
    """
    sizes = pyramid.resized_scales(singan.sizes, height, width)
    seeds = tf.constant([seed], tf.int64)
    stages = [stage.seamless() for stage in singan.stages]
    noise_maps = [
        noise_scale * stage.noise(seeds, scale, *size)
        for scale, (stage, size) in enumerate(zip(stages, sizes))
    ]
    return tile_of(stages, noise_maps, sizes, singan.channels).numpy()


def tile_of(
    stages: Sequence[Stage],
    noise_maps: Sequence[tf.Tensor],
    sizes: Sequence[tuple[int, int]],
    channels: int,
) -> tf.Tensor:
    """The walk of `SinGAN.sample` on a circle, with given noise.

    Args:
        stages: Of `Stage.seamless`, coarse to fine.
        noise_maps: One for each.
        sizes: (height, width) at each scale.
        channels: Of the images.

    Returns:
        float32 [1, height, width, channels] in [-1, 1].
    """
    image = tf.zeros([1, *sizes[0], channels])
    for scale, (stage, noise_map, size) in enumerate(zip(stages, noise_maps, sizes)):
        if scale:
            image = stage(noise_map, _clip(resize_tile(image, size)))
        elif isinstance(stage, PatchStage):
            image = _layout(stage, noise_map, size)
        else:
            image = stage(noise_map, image)
        image = _clip(image)
    return image


def resize_tile(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """`resize` of an image whose borders continue each other, as the result's do.

    Args:
        image: float32 [B, H, W, C].
        size: (height, width) of the result.

    Returns:
        float32 [B, height, width, C].
    """
    for axis, side in zip((1, 2), size):
        thrice = list(image.shape[1:3])
        thrice[axis - 1] = 3 * side
        plane = resize(tf.concat([image] * 3, axis), *thrice)
        image = tf.split(plane, 3, axis)[1]
    return image


def periodic_component(image: np.ndarray) -> np.ndarray:
    """The part of an image that has no edge where its opposite borders meet.

    Moisan, "Periodic plus smooth image decomposition", Journal of Mathematical Imaging
    and Vision, 2011: what is taken off is the smoothest image, by the Laplacian on the
    circle, with the same jumps there. In the Fourier domain that is a division.

    Args:
        image: [1, H, W, C].

    Returns:
        float64 [1, H, W, C], with the mean of the image.
    """
    image = np.asarray(image, np.float64)
    jumps = np.zeros_like(image)
    for axis in (1, 2):
        first, last = (np.take(image, [end], axis) for end in (0, -1))
        shape = list(image.shape)
        shape[axis] -= 2
        jumps += np.concatenate([last - first, np.zeros(shape), first - last], axis)
    down, across = (
        2 * np.cos(2 * np.pi * np.fft.fftfreq(side)) for side in image.shape[1:3]
    )
    laplacian = (down[:, np.newaxis] + across - 4)[:, :, np.newaxis]
    # The mean, which no Laplacian tells of, stays with the periodic part.
    laplacian[0, 0] = np.inf
    smooth = np.fft.fft2(jumps, axes=(1, 2)) / laplacian
    return image - np.fft.ifft2(smooth, axes=(1, 2)).real


def _layout(
    stage: PatchStage, noise_map: tf.Tensor, size: tuple[int, int]
) -> tf.Tensor:
    """What a coarsest scale of patches draws: the photograph's content, moved about."""
    photograph = resize(stage.real, *size).numpy()
    layout = tf.constant(periodic_component(photograph), tf.float32)
    return stage.draw_layout(resize_tile(noise_map, size), layout, tf.ones(size))


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, -1.0, 1.0)
