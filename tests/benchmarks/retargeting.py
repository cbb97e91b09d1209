"""Retargeting beside stretching and beside seam carving alone: prints a Markdown table.

    python tests/benchmarks/retargeting.py RUN_DIR ...

A cell has two distances of 7x7 patches at the size of the run's coarsest scale, where a
patch is as large as things are, as shares of the photograph's variance: of the result's
patches from the nearest ones of the photograph, and the other way round. The first is
small where nothing is bent or cut, the second where nothing is left out. Stretched is
the photograph resized and redrawn from scale 1 on, retargeted `sample --retarget`, both
the mean of three seeds; seam carving has the same costs at the run's own size, and
nothing is redrawn.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from singan_tf import images
from singan_tf.measure import metrics
from singan_tf.model import pyramid
from singan_tf.model.singan import bring_up
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import painting, retargeting

SEEDS = (0, 1, 2)
# Multiples of the height and of the width.
SHAPES = {"wide": (1, 1.6), "narrow": (1, 0.6), "tall": (1.5, 1), "low": (0.65, 1)}


def distances(result: np.ndarray, photograph: np.ndarray, sizes: list) -> np.ndarray:
    """Of a result's patches from the photograph's, and the other way round."""
    height, width = pyramid.resized_scales(sizes, *result.shape[1:3])[0]
    small = bring_up(tf.constant(result), (height, width)).numpy()
    real = bring_up(tf.constant(photograph), sizes[0]).numpy()
    both = (
        metrics.nearest_patches(small, real, small.size),
        metrics.nearest_patches(real, small, real.size),
    )
    return np.array(both) / real.var()


def main() -> None:
    """Prints a row for each run and shape."""
    print("| run | shape | stretched | retargeted | seam carving |")
    print("|---|---|---|---|---|")
    for name in sys.argv[1:]:
        run = RunFolder(pathlib.Path(name))
        singan, _ = loading.load(run)
        sizes = singan.sizes
        photograph = images.read(run.real(len(sizes) - 1), singan.channels)
        for shape, multiples in SHAPES.items():
            size = [round(side * by) for side, by in zip(sizes[-1], multiples)]
            stretched = bring_up(tf.constant(photograph), size).numpy()
            made = {
                "stretched": [
                    painting.redraw(singan, stretched, 1, seed) for seed in SEEDS
                ],
                "retargeted": [
                    retargeting.retarget(singan, photograph, *size, seed, 1)
                    for seed in SEEDS
                ],
                "carved": [
                    retargeting.carve(photograph[0], *size, seed)[np.newaxis]
                    for seed in SEEDS[:1]
                ],
            }
            cells = [
                np.mean([distances(each, photograph, sizes) for each in every], axis=0)
                for every in made.values()
            ]
            row = [f"{there:.3f}, {back:.3f}" for there, back in cells]
            print(f"| {run.path.name} | {shape} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
