"""Holes of an image, filled from the pixels around them."""

import math

import numpy as np
from scipy import ndimage
from skimage import measure

from singan_tf.tasks.masks import blend

# Relaxations of a filled hole at every size; more of them change next to nothing.
_FILL_SWEEPS = 16
# Around a hole, so many pixels of the picture are smeared with its colour: JPEG keeps
# colours for two pixels together, and brushes have soft edges.
_SMEARED = 2


def fill_hole(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fills a hole smoothly from the pixels around it.

    The fill is nearly the membrane that is spanned by the hole's border, where every
    pixel is the mean of its four neighbours, so that sky stays sky and ground ground
    along a scratch through both. It is found coarse to fine: the known pixels are
    averaged in blocks of 2x2 until none is missing, as in the pull-push algorithm
    (Gortler et al., The Lumigraph, 1996), and on the way back every size is relaxed by
    Gauss-Seidel. Time and memory grow with the image's pixels alone.

    Args:
        image: float32 [1, H, W, C].
        mask: bool [H, W], true inside the hole.

    Returns:
        float32 [1, H, W, C], equal to the image outside the mask.

    Raises:
        ValueError: if the hole is the whole image.
    """
    if mask.all():
        raise ValueError("the hole is the whole image and has no border")
    return _filled(image[0], mask)[np.newaxis]


def _filled(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """`fill_hole` of [H, W, C], of which some pixels are known."""
    if not hole.any():
        return image
    height, width = hole.shape
    known = _sums_of_blocks((~hole)[..., np.newaxis].astype(np.float32))
    coarse = _sums_of_blocks(np.where(hole[..., np.newaxis], np.float32(0), image))
    coarse = _filled(coarse / np.maximum(known, 1), known[..., 0] == 0)
    rows, columns = np.nonzero(hole)
    places = [rows / 2 - 0.25, columns / 2 - 0.25]
    # A margin, so that pixels at the border have neighbours, too.
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
    flat = padded.reshape(-1, image.shape[-1])
    indices = (rows + 1) * (width + 2) + columns + 1
    for channel in range(image.shape[-1]):
        flat[indices, channel] = ndimage.map_coordinates(
            coarse[..., channel], places, order=1, mode="nearest"
        )
    odd = (rows + columns) % 2 == 1
    for half in (indices[odd], indices[~odd]) * _FILL_SWEEPS:
        padded[0], padded[-1] = padded[1], padded[-2]
        padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
        beside = flat[half - 1] + flat[half + 1]
        flat[half] = (beside + flat[half - width - 2] + flat[half + width + 2]) / 4
    return padded[1:-1, 1:-1]


def _sums_of_blocks(image: np.ndarray) -> np.ndarray:
    """Sums over blocks of 2x2 pixels, [ceil(H / 2), ceil(W / 2), C]."""
    return measure.block_reduce(image, (2, 2, 1), np.sum)


def fill_smeared_hole(image: np.ndarray, mask: np.ndarray, room: float) -> np.ndarray:
    """Fills a hole, from pixels that nothing of it is smeared over.

    Args:
        image: float32 [1, H, W, C].
        mask: float32 [H, W] in [0, 1]: how much of the fill is laid in.
        room: How far from the mask pixels may change, too, in pixels.

    Returns:
        float32 [1, H, W, C].

    Raises:
        ValueError: if the hole is the whole image.
    """
    hole = _widened(mask, _SMEARED) > 0
    if hole.all():
        hole = mask > 0
    # Squares of pixels, but within a disk.
    laid_in = _widened(mask, min(_SMEARED, int(room / math.sqrt(2))))
    return blend(image, fill_hole(image, hole), laid_in)


def _widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    return ndimage.maximum_filter(mask, 2 * pixels + 1)
