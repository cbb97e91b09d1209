"""How far samples are from the photograph: one number to choose the best by.

Patches do not tell a weak grating from none, as little as they tell it from what the
samples lack elsewhere, and frequencies do not tell where contrast lies. Together they
do. Neither sees layout: compare samples of one layout.
"""

from collections.abc import Sequence
from typing import Optional

import numpy as np

from singan_tf.inside import of_each
from singan_tf.measure import metrics, spectrum

# So many decibels weigh as much as patches that are as far from the photograph's as
# those of an image of its mean colour.
_DECIBELS = 10.0
# The variance of a photograph of nearly one colour: one of 255 levels.
_LEAST_VARIANCE = (1 / 127.5) ** 2


def distance(
    samples: Sequence[np.ndarray],
    photograph: np.ndarray,
    inside: Optional[np.ndarray] = None,
) -> float:
    """The distance of patches and that of frequencies, each as a share, added.

    sqrt(F / v) + r / 10, with F the mean over the samples of `metrics.patch_frechet`,
    v the variance of the photograph's values, and r the `rms` of `spectrum.compare`
    over all samples in dB; 0 for r where the images are too small for a spectrum.

    Args:
        samples: [1, H, W, C] in [-1, 1], at least one.
        photograph: Likewise.
        inside: What of the photograph counts, bool [H, W]; None for all.

    Returns:
        0 for copies of the photograph, else more; infinite if a sample is not finite.

    Raises:
        ValueError: if an image has fewer than two patches.
    """
    if not all(np.isfinite(sample).all() for sample in samples):
        return np.inf
    found = [metrics.patch_frechet(sample, photograph, inside) for sample in samples]
    if None in found:
        raise ValueError("an image has fewer than two patches")
    pixels = photograph if inside is None else photograph[0][inside]
    variance = max(float(np.var(pixels)), _LEAST_VARIANCE)
    bands = spectrum.compare(samples, photograph, inside)
    rms = bands.rms if bands else 0.0
    return float(np.sqrt(np.mean(found) / variance) + rms / _DECIBELS)


def distance_to_nearest(
    samples: Sequence[np.ndarray],
    photographs: Sequence[np.ndarray],
    insides: Sequence[Optional[np.ndarray]] = (),
) -> float:
    """`distance` where there are several photographs, of which each sample is like one.

    The mean over the samples of their distance from the photograph whose patches they
    are nearest to; with one photograph, `distance` itself.

    Args:
        samples: As for `distance`.
        photographs: Likewise, at least one.
        insides: What of each photograph counts, bool [H, W], or None for all; none
            where all of all does.

    Raises:
        ValueError: As for `distance`.
    """
    parts = list(zip(photographs, of_each(insides, len(photographs))))
    if len(parts) == 1 or not all(np.isfinite(each).all() for each in samples):
        return distance(samples, *parts[0])
    groups: list[list[np.ndarray]] = [[] for _ in photographs]
    for sample in samples:
        groups[metrics.nearest_photograph(sample, photographs, insides)].append(sample)
    found = [
        len(group) * distance(group, *part)
        for group, part in zip(groups, parts)
        if group
    ]
    return float(sum(found) / len(samples))
