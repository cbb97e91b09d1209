"""How far images are from a photograph, and how varied: pure functions over arrays.

Images are [1, H, W, C] in [-1, 1]; what is computed is float64. Where only a part of
the photograph counts, `inside` is it, bool [H, W], None for all: of the photograph
those windows count that lie inside as a whole, and of samples all. Each metric has a
way to be fooled, which docs/metrics.md tells; read them together.
"""

from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

import numpy as np
from scipy import ndimage

from singan_tf.inside import of_each, whole, window_sums

PATCH_SIDE = 7
# The side of a window that is a copy or not: what a score of SinGAN's critic sees.
COPY_SIDE = 11
# A copy leaves at most so much of a window's variance unexplained ...
_COPY_TOLERANCE = 0.1
# ... and a window with a standard deviation below this, 5 of 255 levels, is too flat
# to tell.
_COPY_DETAIL = 5 / 127.5
_MAX_PATCHES = 2**15
_MAX_QUERIES = 2**10
# Patches of the photograph that are compared with at once.
_BAND = 2**13


class Gaussian(NamedTuple):
    """What a Frechet distance knows of a set of vectors.

    Attributes:
        mean: float64 [D].
        covariance: float64 [D, D], over N - 1.
    """

    mean: np.ndarray
    covariance: np.ndarray


class Seams(NamedTuple):
    """The edges where the borders of a tile meet, by the photograph's own differences.

    Attributes:
        top_bottom: Between the last row and the first.
        left_right: Between the last column and the first.
    """

    top_bottom: float
    left_right: float


def gaussian(rows: np.ndarray) -> Gaussian:
    """Fits a Gaussian.

    Args:
        rows: [N, D], N at least 2.

    Raises:
        ValueError: if there are fewer rows.
    """
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} rows have no covariance")
    rows = np.asarray(rows, np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Gaussian(mean, centred.T @ centred / (len(rows) - 1))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Squared Frechet distance of two Gaussians (Dowson and Landau, 1982).

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)). The last trace is that of
    (R S2 R)^(1/2) with R = S1^(1/2): symmetric, so eigenvalues give it, and those
    that rounding made negative are taken as 0.

    Args:
        first: Of one set of vectors.
        second: Of the other, in the same dimension.

    Returns:
        At least 0.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ second.covariance @ root)
    distance = (
        np.sum((first.mean - second.mean) ** 2)
        + np.trace(first.covariance)
        + np.trace(second.covariance)
        - 2 * np.sqrt(cross.clip(0)).sum()
    )
    return max(0.0, float(distance))


def sifid(
    features: Callable[..., Optional[np.ndarray]],
    sample: np.ndarray,
    photograph: np.ndarray,
    inside: Optional[np.ndarray] = None,
) -> Optional[float]:
    """Frechet distance between the features of two single images (SinGAN, 3).

    Args:
        features: From an image, and what of it counts, to [positions, D], such as an
            `Inception`; None for an image that is too small.
        sample: [1, H, W, C] in [-1, 1].
        photograph: Likewise, perhaps of another size.
        inside: What of the photograph counts: positions whose middle it has. They also
            see pixels around it.

    Returns:
        The distance; None if an image is too small, or too little is inside.
    """
    real = features(photograph) if inside is None else features(photograph, inside)
    found = features(sample)
    if real is None or found is None or min(len(real), len(found)) < 2:
        return None
    return frechet_distance(gaussian(found), gaussian(real))


def patches(
    image: np.ndarray,
    side: int = PATCH_SIDE,
    limit: int = _MAX_PATCHES,
    inside: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Square patches of an image at stride 1.

    Args:
        image: [1, H, W, C], no side below `side`.
        side: In pixels.
        limit: The most patches; of more, a random choice that depends on the
            image's size, and what is inside, alone.
        inside: What of the image counts.

    Returns:
        [N, C * side * side] of the image's type.
    """
    windows = _windows(image, side)
    height, width = windows.shape[:2]
    chosen = np.arange(height * width)
    if inside is not None:
        chosen = chosen[whole(inside, side).ravel()]
    if len(chosen) > limit:
        chosen = np.random.default_rng(0).choice(chosen, limit, replace=False)
    return windows[np.unravel_index(chosen, (height, width))].reshape(len(chosen), -1)


def patch_frechet(
    first: np.ndarray, second: np.ndarray, inside: Optional[np.ndarray] = None
) -> Optional[float]:
    """Frechet distance between the patches of two images.

    Args:
        first: [1, H, W, C] in [-1, 1].
        second: Likewise, perhaps of another size.
        inside: What of the second counts.

    Returns:
        The distance divided by the number of values in a patch; None if an image
        has fewer than two patches.
    """
    if min(_count_patches(first), _count_patches(second, inside)) < 2:
        return None
    one, other = gaussian(patches(first)), gaussian(patches(second, inside=inside))
    return frechet_distance(one, other) / len(one.mean)


def nearest_photograph(
    sample: np.ndarray,
    photographs: Sequence[np.ndarray],
    insides: Sequence[Optional[np.ndarray]] = (),
) -> int:
    """Number of the photograph whose patches a sample is nearest to.

    Args:
        sample: [1, H, W, C] in [-1, 1], with two patches at least.
        photographs: Likewise, at least one; perhaps of other sizes.
        insides: What of each of them counts, or None for all; none where all of all
            does.
    """
    if len(photographs) == 1:
        return 0
    parts = zip(photographs, of_each(insides, len(photographs)))
    return int(np.argmin([patch_frechet(sample, *part) for part in parts]))


def nearest_patches(
    image: np.ndarray,
    among: np.ndarray,
    limit: int = _MAX_QUERIES,
    inside: Optional[np.ndarray] = None,
    inside_among: Optional[np.ndarray] = None,
) -> Optional[float]:
    """How far the patches of an image are from the nearest ones of another.

    Of a sample among the photograph's patches it is small where the sample is
    plausible; of the photograph among the sample's where nothing is left out.

    Args:
        image: [1, H, W, C] in [-1, 1].
        among: Likewise, perhaps of another size.
        limit: The most patches of `image` to look at; those of `among` are all
            looked at.
        inside: What of `image` counts.
        inside_among: What of `among` counts.

    Returns:
        The mean over patches of the smallest mean squared difference; None if an
        image has no patch.
    """
    if min(_count_patches(image, inside), _count_patches(among, inside_among)) < 1:
        return None
    queries = patches(image, limit=limit, inside=inside)
    return float(_nearest(queries, among, PATCH_SIDE, inside_among).mean())


def sliced_wasserstein(
    first: np.ndarray, second: np.ndarray, inside: Optional[np.ndarray] = None
) -> Optional[float]:
    """Sliced Wasserstein distance between the patches of two images.

    The patches are projected on the directions of a random basis; in one dimension
    the Wasserstein-1 distance is the mean difference of sorted numbers (Rabin et al.,
    2011).

    Args:
        first: [1, H, W, C] in [-1, 1].
        second: Likewise, perhaps of another size.
        inside: What of the second counts.

    Returns:
        The mean over directions; None if an image has no patch.
    """
    if min(_count_patches(first), _count_patches(second, inside)) < 1:
        return None
    one, other = patches(first), patches(second, inside=inside)
    # A basis covers directions more evenly than as many independent ones.
    size = one.shape[1]
    directions, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
    one, other = np.sort(one @ directions, axis=0), np.sort(other @ directions, axis=0)
    count = max(len(one), len(other))
    return float(np.abs(_quantiles(one, count) - _quantiles(other, count)).mean())


def diversity(
    samples: Sequence[np.ndarray],
    photograph: np.ndarray,
    inside: Optional[np.ndarray] = None,
) -> Optional[float]:
    """How much samples differ from each other (SinGAN, section 3).

    Args:
        samples: [1, H, W, C] in [-1, 1].
        photograph: Likewise, perhaps of another size.
        inside: What of the photograph counts, pixel by pixel.

    Returns:
        The standard deviation over the samples of each pixel's grey value, averaged
        over pixels, divided by the standard deviation of the photograph's grey
        values; both over N - 1. None for fewer than two samples, for samples of
        several sizes and for a photograph of one grey value.
    """
    spread = np.std(_grey_inside(photograph, inside), ddof=1)
    if len(samples) < 2 or len({s.shape for s in samples}) > 1 or spread < 1e-6:
        return None
    values = np.stack([_grey(sample) for sample in samples])
    return float(np.std(values, axis=0, ddof=1).mean() / spread)


def variance_map(
    samples: Sequence[np.ndarray],
    photograph: np.ndarray,
    inside: Optional[np.ndarray] = None,
) -> Optional[np.ndarray]:
    """Where in the image samples differ from each other.

    Args:
        samples: [1, H, W, C] in [-1, 1], all of one size.
        photograph: Likewise, perhaps of another size.
        inside: What of the photograph counts, pixel by pixel.

    Returns:
        The variance over the samples of each pixel's grey value, divided by the
        variance of the photograph's grey values; both over N - 1; float64 [H, W].
        None where `diversity` is.
    """
    if diversity(samples, photograph, inside) is None:
        return None
    values = np.stack([_grey(sample) for sample in samples])
    spread = np.var(_grey_inside(photograph, inside), ddof=1)
    return np.var(values, axis=0, ddof=1) / spread


def copied(
    sample: np.ndarray, photograph: np.ndarray, inside: Optional[np.ndarray] = None
) -> Optional[float]:
    """How much of a sample is the photograph itself, at the same place.

    A window is a copy if the mean squared difference is at most a tenth of the
    window's variance in the photograph: compression and the rounding of a
    reconstruction pass for a copy, another texture does not. Windows that are
    nearly of one colour, which are equal by chance, do not count.

    Args:
        sample: [1, H, W, C] in [-1, 1].
        photograph: Likewise.
        inside: What of the photograph counts.

    Returns:
        The share of pixels in a copied window among those in a window with detail,
        0 to 1; None if the sizes differ, an image is smaller than a window, or the
        photograph has no detail.
    """
    if sample.shape != photograph.shape or min(sample.shape[1:3]) < COPY_SIDE:
        return None
    sample, photograph = (np.asarray(x[0], np.float64) for x in (sample, photograph))
    error = _window_means((sample - photograph) ** 2).mean(axis=-1)
    means, squares = _window_means(photograph), _window_means(photograph**2)
    variance = (squares - means**2).mean(axis=-1)
    detailed = variance >= _COPY_DETAIL**2
    if inside is not None:
        detailed &= whole(inside, COPY_SIDE)
    if not detailed.any():
        return None
    same = detailed & (error <= _COPY_TOLERANCE * variance)
    return float(_covered(same).sum() / _covered(detailed).sum())


def copied_anywhere(
    sample: np.ndarray, photograph: np.ndarray, inside: Optional[np.ndarray] = None
) -> Optional[float]:
    """How much of a sample is the photograph itself, at any place.

    As `copied`, for the windows of a grid on the sample, each compared with all
    windows of the photograph; a straight edge finds its like by chance. Of many
    windows, a random choice stands for all.

    Args:
        sample: [1, H, W, C] in [-1, 1].
        photograph: Likewise, perhaps of another size.
        inside: What of the photograph counts.

    Returns:
        The share of copied windows among those with detail, 0 to 1; None if an
        image is smaller than a window or has none that counts, or the sample has no
        detail.
    """
    if min(*sample.shape[1:3], *photograph.shape[1:3]) < COPY_SIDE:
        return None
    if inside is not None and not whole(inside, COPY_SIDE).any():
        return None
    grid = _windows(sample, COPY_SIDE)[::COPY_SIDE, ::COPY_SIDE]
    rows = (np.var(row.astype(np.float64), axis=(2, 3)).mean(axis=-1) for row in grid)
    variance = np.concatenate(list(rows))
    detailed = np.flatnonzero(variance >= _COPY_DETAIL**2)
    if not len(detailed):
        return None
    if len(detailed) > _MAX_QUERIES:
        detailed = np.random.default_rng(0).choice(
            detailed, _MAX_QUERIES, replace=False
        )
    queries = grid[np.unravel_index(detailed, grid.shape[:2])]
    queries = queries.reshape(len(detailed), -1)
    error = _nearest(queries, photograph, COPY_SIDE, inside)
    return float(np.mean(error <= _COPY_TOLERANCE * variance[detailed]))


def seams(
    tile: np.ndarray, photograph: np.ndarray, inside: Optional[np.ndarray] = None
) -> Optional[Seams]:
    """How strong an edge is where the opposite borders of a tile meet.

    Args:
        tile: [1, H, W, C] in [-1, 1].
        photograph: Likewise, perhaps of another size, with sides of at least 2.
        inside: What of the photograph counts: neighbours that it has both.

    Returns:
        The mean absolute difference of the pixels on both sides of each seam, divided
        by that of neighbours in the same direction all over the photograph: about 1
        where nothing is to be seen. None for a photograph without differences in one
        of the directions.
    """
    found = []
    for axis in (1, 2):
        edges = np.abs(np.diff(np.asarray(photograph, np.float64), axis=axis))
        if inside is not None:
            pair = (2, 1) if axis == 1 else (1, 2)
            edges = edges[0][window_sums(inside, pair) == 2]
        own = edges.mean()
        if own == 0:
            return None
        first, last = (np.take(tile, end, axis).astype(np.float64) for end in (0, -1))
        found.append(float(np.abs(first - last).mean() / own))
    return Seams(*found)


def rmse(
    first: np.ndarray, second: np.ndarray, inside: Optional[np.ndarray] = None
) -> float:
    """Root of the mean squared difference of two images of one shape, or of a part."""
    difference = np.asarray(first, np.float64) - second
    if inside is not None:
        difference = difference[0][inside]
    return float(np.sqrt(np.mean(difference**2)))


def _windows(image: np.ndarray, side: int) -> np.ndarray:
    """A view of every window, [H - side + 1, W - side + 1, C, side, side]."""
    return np.lib.stride_tricks.sliding_window_view(image[0], (side, side), (0, 1))


def _count_patches(image: np.ndarray, inside: Optional[np.ndarray] = None) -> int:
    if inside is not None:
        return int(whole(inside, PATCH_SIDE).sum())
    height, width = image.shape[1:3]
    return max(0, height - PATCH_SIDE + 1) * max(0, width - PATCH_SIDE + 1)


def _nearest(
    queries: np.ndarray,
    among: np.ndarray,
    side: int,
    inside: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Smallest mean squared difference of each query to a window, float64 [N]."""
    windows = _windows(among, side)
    rows = max(1, _BAND // windows.shape[1])
    smallest = np.full(len(queries), np.inf)
    counts = None if inside is None else whole(inside, side)
    for top in range(0, len(windows), rows):
        keys = windows[top : top + rows].reshape(-1, queries.shape[1])
        if counts is not None:
            keys = keys[counts[top : top + rows].ravel()]
            if not len(keys):
                continue
        # The squared distance up to a constant of the query, in float32; then exactly
        # for the one that is found.
        found = np.argmin(np.sum(keys**2, axis=1) - 2 * (queries @ keys.T), axis=1)
        difference = queries.astype(np.float64) - keys[found]
        smallest = np.minimum(smallest, np.mean(difference**2, axis=1))
    return smallest


def _quantiles(columns: np.ndarray, count: int) -> np.ndarray:
    """Sorted columns [N, P] as `count` evenly spaced quantiles each."""
    if len(columns) == count:
        return columns
    have = (np.arange(len(columns)) + 0.5) / len(columns)
    want = (np.arange(count) + 0.5) / count
    return np.stack([np.interp(want, have, column) for column in columns.T], axis=1)


def _grey(image: np.ndarray) -> np.ndarray:
    return np.asarray(image[0], np.float64).mean(axis=-1)


def _grey_inside(image: np.ndarray, inside: Optional[np.ndarray]) -> np.ndarray:
    grey = _grey(image)
    return grey if inside is None else grey[inside]


def _window_means(values: np.ndarray) -> np.ndarray:
    """Means over the windows, [H - side + 1, W - side + 1, C], of [H, W, C]."""
    radius = COPY_SIDE // 2
    means = ndimage.uniform_filter(values, (COPY_SIDE, COPY_SIDE, 1))
    return means[radius:-radius, radius:-radius]


def _covered(windows: np.ndarray) -> np.ndarray:
    """Which pixels of the image lie in a chosen window; both bool."""
    centres = np.pad(windows, COPY_SIDE // 2)
    return ndimage.maximum_filter(centres, COPY_SIDE, mode="constant")
