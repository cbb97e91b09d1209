"""Shows why two distances of patches behave as they do, on photographs, in NumPy.

    python tests/benchmarks/patch_distances.py [PHOTO ...] [--max_size=96] [--side=7]

Alignment divides by the roots of the eigenvalues of a fake's covariance. The first
table has, for sizes of a pyramid, the condition number of that covariance for what
enters a scale (the photograph brought up from three quarters of its size), and by how
much alignment stretches it at most. The Frechet distance sees means and covariances
alone. The second table has its value, and others, for an image of the same spectrum
with random phases: its patches have the photograph's mean and covariance exactly.
"""

import argparse
import os
import sys
from typing import NamedTuple

import numpy as np
from skimage import transform

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", ".."))

from singan_tf import images
from singan_tf.measure import metrics

# What the program adds to variances before it divides by them.
SHRINKAGE = 1e-4


class Alignment(NamedTuple):
    """How well alignment is determined.

    Attributes:
        patches: The number of patches.
        values: The number of values in a patch.
        condition: The largest eigenvalue of the fake's covariance over the smallest;
            infinite where there are no more patches than values.
        gain: The most that a direction of the fake's patches is stretched.
        gain_shrunk: The same with `SHRINKAGE` added to both covariances.
    """

    patches: int
    values: int
    condition: float
    gain: float
    gain_shrunk: float


def alignment(real: np.ndarray, fake: np.ndarray, side: int) -> Alignment:
    """How well the alignment of a fake's patches to the photograph's is determined.

    Args:
        real: The photograph, [1, H, W, C] in [-1, 1].
        fake: Likewise.
        side: Of a patch, in pixels.
    """
    rows = metrics.patches(fake, side)
    found = metrics.gaussian(rows).covariance
    target = metrics.gaussian(metrics.patches(real, side)).covariance
    eigenvalues = np.linalg.eigvalsh(found)
    singular = len(rows) <= rows.shape[1]
    condition = np.inf if singular else eigenvalues[-1] / eigenvalues[0]
    identity = np.eye(len(found))
    gains = [
        np.linalg.norm(
            _root(found + x * identity, -1) @ _root(target + x * identity), 2
        )
        for x in (0, SHRINKAGE)
    ]
    return Alignment(*rows.shape, condition, np.inf if singular else gains[0], gains[1])


def _root(matrix: np.ndarray, sign: int = 1) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    floor = np.finfo(np.float64).eps * values[-1]
    return (vectors * np.maximum(values, floor) ** (sign / 2)) @ vectors.T


def of_equal_spectrum(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """An image with the spectrum of another and random phases.

    All channels get the same change of phase, so that each product of two channels'
    spectra stays as it is, and with them all covariances of pixels, around the edges.

    Args:
        image: [1, H, W, C].
        seed: Of the phases.
    """
    noise = np.random.default_rng(seed).normal(size=image.shape[1:3])
    spectrum = np.fft.fft2(noise)
    turn = spectrum / np.abs(spectrum)
    # The mean stays.
    turn[0, 0] = 1
    changed = np.fft.fft2(image, axes=(1, 2)) * turn[None, :, :, None]
    return np.fft.ifft2(changed, axes=(1, 2)).real


def around(image: np.ndarray, side: int = metrics.PATCH_SIDE) -> np.ndarray:
    """Continues an image beyond its edges by itself: a patch for each pixel."""
    return np.pad(image, [(0, 0), (0, side - 1), (0, side - 1), (0, 0)], mode="wrap")


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Cubic, antialiased where it shrinks."""
    shape = (height, width, image.shape[3])
    # Of an image without the first axis: SciPy is slow in four dimensions.
    return transform.resize(image[0], shape, order=3, mode="edge", anti_aliasing=True)[
        None
    ]


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", nargs="*", default=["rocket", "coffee"])
    parser.add_argument("--max_size", type=int, default=96)
    parser.add_argument("--side", type=int, default=metrics.PATCH_SIDE)
    given = parser.parse_args()
    read = {}
    for name in given.photographs:
        photograph = images.read(images.resolve(name)).astype(np.float64)
        scale = given.max_size / max(photograph.shape[1:3])
        sides = (round(side * scale) for side in photograph.shape[1:3])
        read[name] = resized(photograph, *sides)
    print("| photograph | size | patches | values | condition | gain | shrunk |")
    print("|---|---|---|---|---|---|---|")
    for name, photograph in read.items():
        height, width = photograph.shape[1:3]
        while min(height, width) >= 25:
            real = resized(photograph, height, width)
            below = resized(real, round(height * 0.75), round(width * 0.75))
            found = alignment(real, resized(below, height, width), given.side)
            print(
                f"| {name} | {height}x{width} | {found.patches} | {found.values} | "
                f"{found.condition:.1e} | {found.gain:.0f} | {found.gain_shrunk:.1f} |"
            )
            height, width = round(height * 0.75), round(width * 0.75)
    print("\n| photograph | against | patch Frechet | sliced Wasserstein | nearest |")
    print("|---|---|---|---|---|")
    for name, photograph in read.items():
        others = {
            "its mirror image": photograph[:, :, ::-1],
            "equal spectrum, random phases": of_equal_spectrum(photograph),
        }
        for what, other in others.items():
            pair = (around(other), around(photograph))
            values = (metrics.patch_frechet, metrics.sliced_wasserstein)
            numbers = [f"{metric(*pair):.2g}" for metric in values]
            numbers.append(f"{metrics.nearest_patches(*pair):.2g}")
            print(f"| {name} | {what} | {' | '.join(numbers)} |")


if __name__ == "__main__":
    main()
