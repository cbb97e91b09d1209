"""How strong each frequency is in samples, against the photograph: pure functions.

A grating is an excess in one band of frequencies and directions, grain an excess in
many, blur a lack in the fine ones. What is computed: an image's grey values (the mean
of its channels) are cut into square tiles of `TILE` pixels at half a tile's stride from
the upper left corner; each tile less its mean, under a Hann window in both directions,
gives a power spectrum, and the mean over the tiles is the image's. Its bands are
`RINGS` rings of equal width by `DIRECTIONS` sectors of equal angle, both directions of
a wave counting as one, and a band's power is the mean over its frequencies. The power
of several samples is the mean of theirs. A band's level is 10 log10 of the samples'
power over the photograph's, in decibels (dB): 0 where both are alike, 6 where the
samples' contrast is twice the photograph's.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np

from singan_tf.inside import whole

# Pixels of a tile's side; of a smaller image there is no spectrum.
TILE = 64
# Below the least frequency, in cycles per pixel, a tile says more of layout than of
# texture; above the most, corners of the spectrum have no full ring.
_LEAST, _MOST = 0.06, 0.48
RINGS = 7
DIRECTIONS = 12
# Every band counts as at least the power of white noise with this standard deviation, a
# tenth of one of 255 levels: a flat image would have no decibels. Photographs in 8 bits
# are above it by their rounding alone.
_FLOOR = 0.1 / 127.5


class Spectrum(NamedTuple):
    """How the bands of samples compare with the photograph's.

    Attributes:
        rms: The root of the mean squared level over bands, in dB; 0 or more.
        worst: The highest level of a band, in dB; below 0 if all bands lack power.
        frequency: The middle of that band's ring, in cycles per pixel.
        direction: The middle of that band's sector, in degrees from 0 to 180: the way
            in which the wave goes, from to the right (0: upright stripes) to
            downwards (90: level stripes) and on.
    """

    rms: float
    worst: float
    frequency: float
    direction: float


def compare(
    samples: Sequence[np.ndarray],
    photograph: np.ndarray,
    inside: Optional[np.ndarray] = None,
) -> Optional[Spectrum]:
    """Sums up the levels of all bands.

    Args:
        samples: As `levels` takes them.
        photograph: Likewise.
        inside: Likewise.

    Returns:
        The summary; None where there are no levels.
    """
    found = levels(samples, photograph, inside)
    if found is None:
        return None
    ring, direction = np.unravel_index(np.argmax(found), found.shape)
    return Spectrum(
        rms=float(np.sqrt(np.mean(found**2))),
        worst=float(found[ring, direction]),
        frequency=float(_LEAST + (ring + 0.5) * (_MOST - _LEAST) / RINGS),
        direction=float((direction + 0.5) * 180 / DIRECTIONS),
    )


def levels(
    samples: Sequence[np.ndarray],
    photograph: np.ndarray,
    inside: Optional[np.ndarray] = None,
) -> Optional[np.ndarray]:
    """The level of each band of the samples' mean spectrum.

    Args:
        samples: [1, H, W, C] in [-1, 1], each of a size of its own.
        photograph: Likewise.
        inside: What of the photograph counts, bool [H, W]; None for all. Tiles that are
            not inside as a whole are left out.

    Returns:
        float64 [RINGS, DIRECTIONS] in dB; 0 for a copy of the photograph. None if
        there is no sample, a side of an image is below `TILE`, or no tile of the
        photograph is left.
    """
    sides = [side for image in (*samples, photograph) for side in image.shape[1:3]]
    if not len(samples) or min(sides) < TILE:
        return None
    chosen = None if inside is None else _every_other(whole(inside, TILE))
    if chosen is not None and not chosen.any():
        return None
    mean = np.mean([_powers(sample) for sample in samples], axis=0)
    floor = _FLOOR**2 * np.sum(_window() ** 2)
    return 10 * np.log10(
        np.maximum(mean, floor) / np.maximum(_powers(photograph, chosen), floor)
    )


def _every_other(tiles: np.ndarray) -> np.ndarray:
    """Of the tiles at every place those that are looked at."""
    return tiles[:: TILE // 2, :: TILE // 2]


def _powers(image: np.ndarray, chosen: Optional[np.ndarray] = None) -> np.ndarray:
    """The power of each band, float64 [RINGS, DIRECTIONS], of [1, H, W, C].

    `chosen` says which of the tiles count, bool [rows, columns]; None for all.
    """
    grey = image[0].mean(axis=-1).astype(np.float64)
    tiles = np.lib.stride_tricks.sliding_window_view(grey, (TILE, TILE))
    tiles = _every_other(tiles)
    count = tiles.shape[0] * tiles.shape[1] if chosen is None else chosen.sum()
    power = np.zeros([TILE, TILE])
    # A row of tiles at once, as all of a large image would take much memory.
    for index, row in enumerate(tiles):
        row = row if chosen is None else row[chosen[index]]
        centred = row - row.mean(axis=(1, 2), keepdims=True)
        power += np.sum(np.abs(np.fft.fft2(centred * _window())) ** 2, axis=0)
    bands = _bands()
    counted = bands >= 0
    sums = np.bincount(bands[counted], power[counted], RINGS * DIRECTIONS)
    means = sums / np.bincount(bands[counted], minlength=RINGS * DIRECTIONS)
    return means.reshape(RINGS, DIRECTIONS) / count


@functools.cache
def _window() -> np.ndarray:
    """What a tile is multiplied with, float64 [TILE, TILE]."""
    return np.outer(np.hanning(TILE), np.hanning(TILE))


@functools.cache
def _bands() -> np.ndarray:
    """The number of each frequency's band, int64 [TILE, TILE]; -1 outside of all."""
    across = np.fft.fftfreq(TILE)
    down = across[:, np.newaxis]
    ring = np.floor((np.hypot(down, across) - _LEAST) / (_MOST - _LEAST) * RINGS)
    # A wave and the one that goes the other way differ in the sign of both.
    turned = np.where((down < 0) | ((down == 0) & (across < 0)), -1, 1)
    half_turns = np.arctan2(turned * down, turned * across) / np.pi
    bands = ring * DIRECTIONS + np.floor(half_turns * DIRECTIONS)
    return np.where((ring >= 0) & (ring < RINGS), bands, -1).astype(np.int64)
