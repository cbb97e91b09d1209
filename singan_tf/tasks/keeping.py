"""Samples around what is kept of a picture: in its own size, or beyond its borders.

What is kept enters at every scale as it looks there, so that the scales above fit to it
what they draw around it; in the end it is laid over the result, to the last bit. Where
things are comes from a layout, the photograph or what goes on from it: its content
moves about as in any sample, but not where it is kept, and the less the nearer, so that
what the seam cuts goes on behind it.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import ndimage

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.model import noise, pyramid
from singan_tf.model.displacement import displace
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.model.stage import Stage
from singan_tf.tasks import masks
from singan_tf.tasks.task import Task

# How far from what is kept the content moves as far as in any sample, as a share of the
# longer side.
_FREE = 0.25
# At every scale what is kept fades into what is drawn, outside of it: the radius of the
# disk and the sigma of the blur, in pixels of the scale.
_FADE = (2, 2.0)
# How far the content of a layout moves beyond the borders of a run whose coarsest scale
# is trained: the standard deviation, as a share of the longer side.
_SHIFT = 0.1
_POINTS = 4


class Margins(NamedTuple):
    """How many pixels a picture grows at each side."""

    left: int
    right: int
    top: int
    bottom: int


class _Place(NamedTuple):
    """What one scale is given.

    Attributes:
        layout: Where things are, float32 [1, h, w, C] in [-1, 1].
        kept: bool [h, w], what stays of it.
        shown: How much of it lies over what is drawn, float32 [h, w] in [0, 1]: 1 where
            it is kept.
    """

    layout: tf.Tensor
    kept: np.ndarray
    shown: np.ndarray


def read_kept(task: Task, name: str) -> np.ndarray:
    """Reads the mask of what samples keep of the photograph, and notes how.

    Args:
        task: The opened task.
        name: As for `masks.read_mask`; inside is what is kept.

    Returns:
        bool [H, W], at the finest scale: what the mask touches is inside.

    Raises:
        UserError: if it cannot be read, is empty, or leaves nothing to draw.
    """
    read = masks.read_mask(task, name, exact=False)
    kept = masks.resize_mask(read, *task.singan.sizes[-1])
    if kept.all():
        raise UserError(
            f"The mask {name} keeps the whole photograph, which leaves nothing to "
            "draw; leave some of the photograph out of it."
        )
    masks.note_share(task, images.resolve(name).name, read.shape, kept)
    return kept > 0


def grown_size(size: tuple[int, int], margins: Margins) -> tuple[int, int]:
    """(height, width) of a picture of that size that has grown."""
    height, width = size
    return (
        margins.top + height + margins.bottom,
        margins.left + width + margins.right,
    )


def grown(photograph: np.ndarray, margins: Margins) -> tuple[np.ndarray, np.ndarray]:
    """A larger layout that a picture is a part of: mirrored at its borders.

    Args:
        photograph: float32 [1, H, W, C].
        margins: How many pixels it grows at each side.

    Returns:
        The layout, float32 [1, top + H + bottom, left + W + right, C], and where the
        picture is in it, bool of that height and width.
    """
    sides = [(margins.top, margins.bottom), (margins.left, margins.right)]
    layout = np.pad(photograph, [(0, 0), *sides, (0, 0)], mode="symmetric")
    kept = np.pad(np.ones(photograph.shape[1:3], bool), sides)
    return layout, kept


def draw_around(
    singan: SinGAN,
    layout: np.ndarray,
    kept: np.ndarray,
    seed: int,
    start_scale: int = 0,
    noise_scale: float = 1.0,
) -> np.ndarray:
    """Draws a sample around what is kept of a layout.

    Args:
        singan: The trained pyramid.
        layout: The photograph at the finest scale, or what `grown` makes of it: float32
            [1, H, W, C] in [-1, 1].
        kept: bool [H, W], what stays of it.
        seed: The seed of the noise.
        start_scale: Scales below it show the layout as it is, from 0 to the last.
        noise_scale: Multiplies the noise of every scale.

    Returns:
        float32 [1, H, W, C] in [-1, 1], to the last bit the layout where it is kept.
    """
    places = _places(singan, layout, kept)
    image = places[start_scale - 1].layout if start_scale else None
    for scale in range(start_scale, len(singan.stages)):
        stage, place = singan.stages[scale], places[scale]
        size = place.kept.shape
        seeds = tf.constant([seed], tf.int64)
        noise_map = noise_scale * stage.noise(seeds, scale, *size)
        if scale:
            drawn = _redrawn(stage, noise_map, bring_up(image, size), place)
        else:
            drawn = _coarsest(singan, noise_map, seeds, noise_scale, place)
        drawn = tf.clip_by_value(drawn, -1.0, 1.0)
        image = masks.blend(drawn, place.layout, place.shown)
    return np.where(kept[np.newaxis, :, :, np.newaxis], layout, image)


def _places(singan: SinGAN, layout: np.ndarray, kept: np.ndarray) -> list[_Place]:
    """What each scale is given, coarse to fine."""
    sizes = pyramid.resized_scales(singan.sizes, *kept.shape)
    places = []
    for size, shrunk in zip(sizes, pyramid.image_pyramid(tf.constant(layout), sizes)):
        there = masks.resize_mask(kept, *size)
        shown = np.maximum(there, masks.soften_mask(there, *_FADE))
        places.append(_Place(shrunk, there, shown))
    return places


def _coarsest(
    singan: SinGAN,
    noise_map: tf.Tensor,
    seeds: tf.Tensor,
    noise_scale: float,
    place: _Place,
) -> tf.Tensor:
    """What scale 0 draws, float32 [1, h, w, C]."""
    stage = singan.stages[0]
    if isinstance(stage, PatchStage):
        return stage.draw_layout(noise_map, place.layout, _freedom(place.kept))
    if place.kept.shape == singan.sizes[0]:
        # The noise that reproduces the photograph does so where it is.
        inside = _with_margin(place.kept, noise_map)
        noise_map = tf.where(inside, singan.reconstruction_noise, noise_map)
        return stage(noise_map, tf.zeros_like(place.layout))
    shifts = noise.normal(seeds, 0, [_POINTS, _POINTS, 2])
    shifts *= noise_scale * _SHIFT
    return displace(place.layout, shifts, False, _freedom(place.kept))


def _redrawn(
    stage: Stage, noise_map: tf.Tensor, previous: tf.Tensor, place: _Place
) -> tf.Tensor:
    """What a scale above draws, float32 [1, h, w, C]."""
    if stage.trained:
        # Without noise, what enters as the photograph leaves as the photograph.
        noise_map = tf.where(_with_margin(place.kept, noise_map), 0.0, noise_map)
    return stage(noise_map, previous)


def _freedom(kept: np.ndarray) -> np.ndarray:
    """How far content may move, float32 [h, w] in [0, 1]: smoothly from what stays."""
    away = ndimage.distance_transform_edt(~kept) / (_FREE * max(kept.shape))
    away = np.clip(away, 0, 1)
    return (away**2 * (3 - 2 * away)).astype(np.float32)


def _with_margin(kept: np.ndarray, noise_map: tf.Tensor) -> np.ndarray:
    """What is kept, bool [1, h, w, 1], with the margin that a noise map has."""
    margin = (noise_map.shape[1] - kept.shape[0]) // 2
    return np.pad(kept, margin, mode="edge")[np.newaxis, :, :, np.newaxis]
