"""Retargeting: another aspect ratio without stretching what the photograph shows.

Seams are carved where they cost least (Avidan and Shamir, "Seam carving for
content-aware image resizing", SIGGRAPH 2007), in the photograph as small as the scale
below the start scale has it; the scales above draw the rest, and mend what was cut.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from singan_tf.model import pyramid
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.tasks import painting

# Costs are multiplied by 1 to 1 more than this, at random: so seeds differ.
_CHANCE = 0.5
# A picture grows by at most this share before its seams are looked for again, so that
# what is doubled is spread.
_GROWTH = 1 / 3


def retarget(
    singan: SinGAN,
    photograph: np.ndarray,
    height: int,
    width: int,
    seed: int,
    start_scale: int,
) -> np.ndarray:
    """The photograph at another size, with what it shows at its own.

    Args:
        singan: The trained pyramid.
        photograph: float32 [1, H, W, C] in [-1, 1].
        height: Of the result, in pixels.
        width: Likewise.
        seed: Of the seams and of the noise.
        start_scale: As for `lay_out`.

    Returns:
        float32 [1, height, width, C] in [-1, 1].

    Raises:
        ValueError: if the scale is out of range.
    """
    layout = lay_out(photograph, singan.sizes, height, width, seed, start_scale)
    return painting.redraw(singan, layout, start_scale, seed)


def lay_out(
    photograph: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    height: int,
    width: int,
    seed: int,
    start_scale: int = 1,
) -> np.ndarray:
    """The layout for another size, to be redrawn from the start scale on.

    Args:
        photograph: float32 [1, H, W, C] in [-1, 1].
        sizes: (height, width) of each scale of the run, coarse to fine.
        height: Of the layout, in pixels.
        width: Likewise.
        seed: The seams of two seeds differ.
        start_scale: The scale at which the layout enters, at least 1; it is carved at
            the size of the scale below.

    Returns:
        float32 [1, height, width, C] in [-1, 1], as blurred as the scale below.
    """
    below = start_scale - 1
    small = bring_up(tf.constant(photograph), sizes[below]).numpy()[0]
    carved_height, carved_width = pyramid.resized_scales(sizes, height, width)[below]
    carved = carve(small, carved_height, carved_width, seed)
    return bring_up(tf.constant(carved[np.newaxis]), (height, width)).numpy()


def carve(image: np.ndarray, height: int, width: int, seed: int) -> np.ndarray:
    """Takes seams out of an image, or doubles them, until it has another size.

    First those from top to bottom, then those from left to right.

    Args:
        image: float32 [H, W, C].
        height: Of the result, in pixels.
        width: Likewise.
        seed: Of the chance in the costs.

    Returns:
        float32 [height, width, C], of the image's own pixels.
    """
    generator = np.random.default_rng(seed)
    narrow = _carve_width(image, width, generator)
    turned = _carve_width(narrow.swapaxes(0, 1), height, generator)
    return np.ascontiguousarray(turned.swapaxes(0, 1))


def _carve_width(
    image: np.ndarray, width: int, generator: np.random.Generator
) -> np.ndarray:
    while image.shape[1] != width:
        height, before = image.shape[:2]
        growing = width > before
        most = max(int(before * _GROWTH), 1) if growing else before - width
        kept = np.tile(np.arange(before), [height, 1])
        doubled = []
        for _ in range(min(abs(width - before), most)):
            left = np.take_along_axis(image, kept[..., np.newaxis], axis=1)
            on_seam = _find_seam(left, generator)
            doubled.append(kept[on_seam])
            kept = kept[~on_seam].reshape(height, -1)
        if growing:
            every = np.tile(np.arange(before), [height, 1])
            kept = np.sort(np.column_stack([every, *doubled]), axis=1)
        image = np.take_along_axis(image, kept[..., np.newaxis], axis=1)
    return image


def _find_seam(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The seam from top to bottom without which an image changes least.

    By what comes to lie side by side when it is taken out (Rubinstein, Shamir and
    Avidan, "Improved seam carving for video retargeting", SIGGRAPH 2008, section 5).

    Args:
        image: float32 [H, W, C], at least 2 wide.
        generator: Of the chance.

    Returns:
        bool [H, W], true for one pixel of each row.
    """
    height, width = image.shape[:2]
    padded = np.pad(image, [(1, 0), (1, 1), (0, 0)], mode="edge")
    above, left, right = padded[:-1, 1:-1], padded[1:, :-2], padded[1:, 2:]
    chance = 1 + _CHANCE * generator.random([height, width])
    straight = chance * _distance(left, right)
    # The seam comes from the row above: one further left, straight, one further right.
    steps = np.stack(
        [
            straight + chance * _distance(above, left),
            straight,
            straight + chance * _distance(above, right),
        ]
    )
    cost = straight[0]
    choices = np.zeros([height, width], int)
    for row in range(1, height):
        beyond = np.pad(cost, 1, constant_values=np.inf)
        ways = steps[:, row] + np.stack([beyond[:-2], cost, beyond[2:]])
        choices[row], cost = ways.argmin(axis=0) - 1, ways.min(axis=0)
    on_seam = np.zeros([height, width], bool)
    column = cost.argmin()
    for row in reversed(range(height)):
        on_seam[row, column] = True
        column += choices[row, column]
    return on_seam


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.abs(first - second).sum(axis=-1)
