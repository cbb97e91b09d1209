"""Which part of a photograph a run is trained on: masks of what is inside.

What is outside must not count. So it is filled before anything looks at the photograph
(`fill`), and whatever is made of the photograph is a function of the inside alone. The
filling is not to be learned either: losses and measures look at windows that lie inside
as a whole (`whole`).
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np
from scipy import ndimage

from singan_tf.config import CRITIC_SIDE, Config
from singan_tf.errors import UsageError, UserError

# Of the patches that scales of patches and measures are made of, in pixels.
PATCH_SIDE = 7
# A share of a pixel's area that is a half but for rounding.
_HALF = 0.5 - 1e-6


def fill(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Grows the colours of the inside outwards, the further the smoother.

    Pixels are averaged by twos down and across, as often as it takes until all know
    something of the inside; from there on, those outside get what is in their place at
    half the size (push-pull: Gortler et al., The Lumigraph, SIGGRAPH 1996).

    Args:
        image: float32 [1, H, W, C].
        inside: bool [H, W], True somewhere.

    Returns:
        float32 [1, H, W, C]: inside as it was, outside means of colours inside.
    """
    return _grown(image[0], inside)[np.newaxis]


def _grown(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`fill` of [H, W, C]."""
    if inside.all():
        return image
    known = inside[:, :, np.newaxis].astype(np.float32)
    counts = _by_twos(known)
    means = _by_twos(image * known) / np.maximum(counts, 1)
    enlarged = _grown(means, counts[:, :, 0] > 0)
    for axis in (0, 1):
        enlarged = np.repeat(enlarged, 2, axis)
        # Linear between the middles of the pixels that were repeated.
        enlarged = ndimage.convolve1d(enlarged, [0.25, 0.5, 0.25], axis, mode="nearest")
    height, width = inside.shape
    return np.where(known > 0, image, enlarged[:height, :width])


def _by_twos(values: np.ndarray) -> np.ndarray:
    """The sums of two by two pixels, [H / 2, W / 2, C]; beyond the border is 0."""
    odd = [(0, side % 2) for side in values.shape[:2]]
    values = np.pad(values, [*odd, (0, 0)])
    return values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]


def nearest(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of some places to each place of a grid.

    Args:
        places: bool [H, W], True somewhere.

    Returns:
        Their rows and columns, int [H, W] each.
    """
    rows, columns = ndimage.distance_transform_edt(
        ~places, return_distances=False, return_indices=True
    )
    return rows, columns


def resized(inside: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What is inside at another size.

    Args:
        inside: bool [H, W].
        size: (height, width), each at most as large.

    Returns:
        bool [height, width]: the pixels of whose area at least half is inside.
    """
    shares = inside.astype(np.float32)
    for length in size:
        shares = _means(shares, length).T
    return shares >= _HALF


def _means(values: np.ndarray, length: int) -> np.ndarray:
    """The means of `length` equal stretches of the first axis, [length, W]."""
    if len(values) == length:
        return values
    sums = np.cumsum(values, axis=0, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    edges = np.arange(length + 1) * (len(values) / length)
    before = np.minimum(edges.astype(int), len(values) - 1)
    part = (edges - before)[:, np.newaxis]
    reached = sums[before] + part * (sums[before + 1] - sums[before])
    return np.diff(reached, axis=0) * (length / len(values))


def window_sums(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The sum over each window of (height, width), [H - height + 1, W - width + 1].

    Args:
        values: Whole numbers or bool, [H, W], no side below the window's.
        size: (height, width) of windows.
    """
    sums = values.astype(np.int64)
    for side in size:
        sums = np.pad(np.cumsum(sums, axis=0), ((1, 0), (0, 0)))
        sums = (sums[side:] - sums[:-side]).T
    return sums


def whole(inside: np.ndarray, side: int) -> np.ndarray:
    """Which squares lie inside as a whole.

    Args:
        inside: bool [H, W].
        side: Of the squares, in pixels.

    Returns:
        bool [H - side + 1, W - side + 1], by the upper left corner; empty where the
        image has no such square.
    """
    if min(inside.shape) < side:
        return np.zeros([max(0, length - side + 1) for length in inside.shape], bool)
    return window_sums(inside, (side, side)) == side**2


def of_each(
    insides: Sequence[Optional[np.ndarray]], count: int
) -> list[Optional[np.ndarray]]:
    """What counts of each of so many photographs; of no masks, all of each."""
    return list(insides[:count]) or [None] * count


def check(config: Config, sizes: Sequence[tuple[int, int]], inside: np.ndarray) -> None:
    """Refuses settings that do not go with a mask, and masks that leave too little.

    Args:
        config: Of the run, settled.
        sizes: (height, width) of the scales, coarse to fine.
        inside: bool [H, W], of the photograph.

    Raises:
        UsageError: if a setting looks at whole images.
        UserError: if a scale has nothing to learn from.
    """
    network = config.network
    refused = {
        "generator_normalization=instance": network.generator_normalization,
        "critic_normalization=instance": network.critic_normalization,
    }
    whole_images = [name for name, kind in refused.items() if "instance" in kind]
    if config.training.texture_weight:
        whole_images.append(f"texture_weight={config.training.texture_weight:g}")
    if config.adversary.patch_stride > 1:
        whole_images.append(f"patch_stride={config.adversary.patch_stride}")
    if whole_images:
        raise UsageError(
            f"{whole_images[0]} does not go with train_mask or a photograph that is "
            "transparent in parts, as it would look at what is outside; leave out one."
        )
    for scale, size in enumerate(sizes):
        side = seen_side(config, scale)
        if whole(resized(inside, size), side).sum() < 2:
            raise UserError(
                f"Too little of the photograph is inside: at scale {scale}, of "
                f"{size[1]}x{size[0]} pixels, there are no two squares of {side}x"
                f"{side} pixels inside to learn from; crop the photograph to what is "
                "inside, enlarge the mask, or choose a larger min_size."
            )


def seen_side(config: Config, scale: int) -> int:
    """The side of the squares that a scale learns from, in pixels.

    Args:
        config: Of the run, settled.
        scale: The scale.
    """
    if not config.steps_at(scale):
        return PATCH_SIDE
    names = config.adversary.names_at(scale)
    sides = [CRITIC_SIDE if name == "critic" else 0 for name in names]
    if names != ["critic"]:
        sides.append(config.adversary.patch_size)
    # Samples are measured by patches, whatever they are trained against.
    return max([PATCH_SIDE, *sides])
