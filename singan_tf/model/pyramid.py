"""The scales of a run: their sizes, in plain Python, and the image pyramid.

Scale 0 is the coarsest, as in the reference code; the paper counts the other way.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from singan_tf.config import CRITIC_SIDE, Config, PyramidConfig
from singan_tf.errors import UsageError, UserError
from singan_tf.model.resize import resize

# Sizes that are whole numbers on paper come out of floating point a hair above.
_ROUNDING = 1e-6


class Scales(NamedTuple):
    """Sizes of the scales, coarse to fine, and the factor between them.

    Attributes:
        sizes: (height, width) of each scale in pixels; both strictly grow.
        factor: Fitted size ratio of adjacent scales, at most 1.
    """

    sizes: list[tuple[int, int]]
    factor: float


def plan_scales(height: int, width: int, config: PyramidConfig) -> Scales:
    """Sizes of the scales for a photograph, by the reference code's arithmetic.

    The number of scales follows from the nominal factor; the factor is then
    fitted so that the coarsest shorter side is exactly `config.min_size`. Where
    that makes neighbouring scales equal (photographs barely larger than the
    coarsest scale), there are fewer scales.

    Args:
        height: Of the photograph, in pixels.
        width: Of the photograph, in pixels.
        config: Limits and nominal factor.

    Returns:
        The scales, coarse to fine; the finest is the photograph, shrunk if its
        longest side is above `config.max_size`.

    Raises:
        UserError: if the photograph is too small or too narrow.
        UsageError: if `config.num_scales` is impossible for its size.
    """
    shrink = min(config.max_size / max(height, width), 1.0)
    finest = _shrunk((height, width), shrink)
    if min(finest) < config.min_size:
        raise _too_small((height, width), finest, config)
    if config.num_scales:
        last = config.num_scales - 1
    else:
        last = _reference_last_scale(height, width, config)
    while last > 0:
        factor = (config.min_size / min(finest)) ** (1 / last)
        sizes = [_shrunk(finest, factor ** (last - n)) for n in range(last)]
        sizes.append(finest)
        if all(a[0] < b[0] and a[1] < b[1] for a, b in zip(sizes, sizes[1:])):
            return Scales(sizes, factor)
        if config.num_scales:
            raise UsageError(
                f"num_scales={config.num_scales} is too many between "
                f"min_size={config.min_size} and a finest scale of "
                f"{finest[1]}x{finest[0]} pixels: neighbouring scales would be equal."
            )
        last -= 1
    if min(finest) != config.min_size:
        raise UsageError(
            "num_scales=1 needs min_size to be the finest scale's shorter side, "
            f"{min(finest)}."
        )
    return Scales([finest], 1.0)


def plan_all(
    sizes: Sequence[tuple[int, int]], config: Config
) -> list[list[tuple[int, int]]]:
    """Sizes of the scales of photographs that are trained on together.

    Args:
        sizes: (height, width) of the photographs, in pixels.
        config: Of the run.

    Returns:
        (height, width) of each scale, coarse to fine, for each photograph: by
        `plan_scales` for the first, by `plan_further` for the others.

    Raises:
        UserError: if a photograph is too small or too narrow.
        UsageError: As for `plan_scales`.
    """
    first, *others = sizes
    scales = plan_scales(*first, config.pyramid)
    return [scales.sizes, *(plan_further(*each, scales, config) for each in others)]


def plan_further(
    height: int, width: int, scales: Scales, config: Config
) -> list[tuple[int, int]]:
    """Sizes of the scales for a photograph that is trained on beside a first one.

    There are as many scales, and the factor between them is the same, so that a scale
    sees things at one size in all photographs.

    Args:
        height: Of the photograph, in pixels.
        width: Of the photograph, in pixels.
        scales: Those of the first one, by `plan_scales`.
        config: Of the run.

    Returns:
        (height, width) of each scale, coarse to fine; the finest is the photograph,
        shrunk if its longest side is above `max_size`.

    Raises:
        UserError: if the photograph is too small for the coarsest scale.
    """
    limits, last = config.pyramid, len(scales.sizes) - 1
    shrink = min(limits.max_size / max(height, width), 1.0)
    finest = _shrunk((height, width), shrink)
    sizes = [_shrunk(finest, scales.factor ** (last - n)) for n in range(last)]
    sizes.append(finest)
    # What a critic and the distances of patches need; more than the first has is not
    # asked for.
    least = max(CRITIC_SIDE, config.adversary.patch_size)
    least = min(least, *scales.sizes[0])
    if min(sizes[0]) < least:
        down, across = sizes[0]
        raise UserError(
            f"The photograph is {width}x{height} pixels, and by the first one's scales "
            f"{across}x{down} at the coarsest, where its shorter side must have at "
            f"least {least}; name the photograph with the shortest side first, use a "
            "larger one, or a higher min_size."
        )
    return sizes


def _too_small(
    size: tuple[int, int], finest: tuple[int, int], config: PyramidConfig
) -> UserError:
    """Says so, and only what helps with this photograph."""
    (height, width), least, became = size, config.min_size, ""
    ways = ["a larger photograph" if min(size) < least else "a less narrow photograph"]
    if finest != size:
        became = f", {finest[1]}x{finest[0]} after max_size={config.max_size}"
        if min(size) >= least:
            enough = math.ceil(least * max(size) / min(size))
            ways.append(f"max_size={enough} or more")
    # At a smaller scale no critic could be trained.
    if min(finest) >= CRITIC_SIDE:
        ways.append(f"min_size={min(finest)} or less")
    return UserError(
        f"The photograph is {width}x{height} pixels{became}, but its shorter side must "
        f"have at least min_size={least}; use {', or '.join(ways)}."
    )


def _reference_last_scale(height: int, width: int, config: PyramidConfig) -> int:
    """Index of the finest scale; the names are the reference code's."""

    def scales_down(ratio):
        return math.ceil(math.log(ratio, config.scale_factor) - _ROUNDING)

    longest = max(height, width)
    num_scales = scales_down(config.min_size / min(height, width)) + 1
    scale2stop = scales_down(min(config.max_size, longest) / longest)
    return num_scales - scale2stop


def _shrunk(size: tuple[int, int], factor: float) -> tuple[int, int]:
    height, width = (math.ceil(side * factor - _ROUNDING) for side in size)
    return height, width


def resized_scales(
    sizes: Sequence[tuple[int, int]], height: int, width: int
) -> list[tuple[int, int]]:
    """Sizes of the scales for an output of another size than the photograph's.

    Integer arithmetic throughout, so that the same formula gives the same sizes
    for Python integers and for scalar tensors in a graph, and gives back `sizes`
    for the photograph's own size.

    Args:
        sizes: (height, width) of each scale in training.
        height: Of the output in pixels, an int or a scalar integer tensor.
        width: Of the output in pixels, an int or a scalar integer tensor.

    Returns:
        (height, width) for each scale; the last is the one asked for.
    """
    full_height, full_width = sizes[-1]
    return [
        (
            (2 * h * height + full_height) // (2 * full_height),
            (2 * w * width + full_width) // (2 * full_width),
        )
        for h, w in sizes
    ]


def image_pyramid(
    photograph: tf.Tensor, sizes: list[tuple[int, int]]
) -> list[tf.Tensor]:
    """The photograph at each scale: the reals.

    Args:
        photograph: float32 [1, H, W, C] in [-1, 1].
        sizes: (height, width) of each scale, coarse to fine.

    Returns:
        One float32 [1, height, width, C] in [-1, 1] for each size. The coarser ones
        are made from the finest, as in the reference code.
    """
    finest = tf.clip_by_value(resize(photograph, *sizes[-1]), -1.0, 1.0)
    coarser = [tf.clip_by_value(resize(finest, *s), -1.0, 1.0) for s in sizes[:-1]]
    return [*coarser, finest]
