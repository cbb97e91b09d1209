"""Paint-to-image: an image enters the pyramid at a scale and is redrawn above it."""

import pathlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

import numpy as np
import tensorflow as tf
from scipy.cluster import vq

from singan_tf.config import Config
from singan_tf.model import pyramid, stages
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks.task import Task
from singan_tf.training import distribution
from singan_tf.training import retraining as training
from singan_tf.training.session import Run

# Of a quantized painting, as in the reference code.
_PAINT_COLOURS = 5
# The side of a colour's square in a picture of a palette, in pixels.
_SWATCH = 24


def redraw(
    singan: SinGAN, image: np.ndarray, injection_scale: int, seed: int
) -> np.ndarray:
    """Redraws an image in the photograph's texture, from a scale on.

    Args:
        singan: The trained pyramid.
        image: float32 [1, H, W, C] in [-1, 1], at any size.
        injection_scale: From 1 to the last scale; the lower, the more changes.
        seed: The seed of the noise.

    Returns:
        float32 [1, H, W, C] in [-1, 1].

    Raises:
        ValueError: if the scale is out of range.
    """
    return singan.inject(tf.constant(image), injection_scale, [seed]).numpy()


def redraw_each(
    task: Task, image: np.ndarray, scales: list[int], seed: int
) -> dict[str, np.ndarray]:
    """Redraws an image from each scale, and keeps the results.

    Args:
        task: The opened task.
        image: float32 [1, H, W, C] in [-1, 1].
        scales: Injection scales.
        seed: The seed of the noise.

    Returns:
        The results by caption.
    """
    redrawn = {}
    for scale in scales:
        result = redraw(task.singan, image, scale, seed)
        task.write(f"scale_{scale:02d}.png", result)
        redrawn[f"scale {scale:02d}"] = result
    return redrawn


def entering(singan: SinGAN, image: np.ndarray, injection_scale: int) -> np.ndarray:
    """An image as it enters at a scale: as blurred as what comes from below.

    Args:
        singan: The trained pyramid.
        image: float32 [1, H, W, C] in [-1, 1].
        injection_scale: At least 1.

    Returns:
        float32 [1, h, w, C] in [-1, 1], (h, w) the size of that scale when the
        finest is (H, W).
    """
    sizes = pyramid.resized_scales(singan.sizes, *image.shape[1:3])
    small = bring_up(tf.constant(image), sizes[injection_scale - 1])
    return bring_up(small, sizes[injection_scale]).numpy()


def find_palette(
    image: np.ndarray, count: int, inside: Optional[np.ndarray] = None
) -> np.ndarray:
    """The colours that stand for an image best, by k-means.

    Args:
        image: float32 [1, H, W, C].
        count: The number of colours; fewer where the image has fewer.
        inside: The pixels that count, bool [H, W]; None for all.

    Returns:
        float32 [count, C].
    """
    pixels = image if inside is None else image[0][inside]
    pixels = pixels.reshape(-1, image.shape[-1]).astype(np.float64)
    count = min(count, len(np.unique(pixels, axis=0)))
    palette, _ = vq.kmeans2(pixels, count, minit="++", seed=0)
    return palette.astype(np.float32)


def snap(image: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Replaces every pixel by the palette's colour nearest to it.

    Args:
        image: float32 [1, H, W, C] in [-1, 1].
        palette: float32 [K, C].

    Returns:
        float32 [1, H, W, C].
    """
    return stages.nearest_colours(tf.constant(image), palette).numpy()


def in_palette(
    task: Task, painting: np.ndarray, count: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Snaps a painting to the photograph's main colours, and keeps both.

    Args:
        task: The opened task.
        painting: float32 [1, H, W, C] in [-1, 1].
        count: The number of colours.

    Returns:
        The painting in these colours, float32 [1, H, W, C], and for the sheet the
        colours side by side, the darkest first, and the painting, by caption.
    """
    palette = find_palette(task.photograph, count, task.inside)
    palette = palette[np.argsort(palette.mean(axis=1), kind="stable")]
    swatches = np.broadcast_to(palette, [1, _SWATCH, *palette.shape])
    swatches = np.repeat(swatches, _SWATCH, axis=2)
    snapped = snap(painting, palette)
    task.write("palette.png", swatches)
    task.write("input_palette.png", snapped)
    return snapped, {"main colours": swatches, "painting in these": snapped}


def paint_quantized(
    task: Task, painting: np.ndarray, scale: int, seed: int
) -> dict[str, np.ndarray]:
    """Redraws a painting in few colours, by a stage that is trained for them.

    The stage stays in the folder "quantized"; the run's own is not touched.

    Args:
        task: The opened task.
        painting: float32 [1, H, W, C] in [-1, 1].
        scale: The injection scale, one that is trained.
        seed: The seed of the noise.

    Returns:
        The painting in few colours and the result, by caption.

    Raises:
        UserError: if the run is damaged or training diverges.
    """
    photograph = entering(task.singan, task.photograph, scale)
    first = task.insides[0]
    inside = None if first is None else first[scale]
    palette = find_palette(photograph, _PAINT_COLOURS, inside)
    folder = task.output_dir / "quantized"
    # Left by an earlier call, perhaps with another run.
    shutil.rmtree(folder, ignore_errors=True)
    with retraining(task, folder, scale + 1) as run:
        singan = training.retrain_scale(run, task.singan, task.run, scale, palette)
    blots = entering(task.singan, painting, scale)
    blots = snap(blots, palette)
    result = redraw(singan, painting, scale, seed)
    task.write("input_quantized.png", blots)
    task.write(f"scale_{scale:02d}_quantized.png", result)
    return {"painting, quantized": blots, f"scale {scale:02d}, quantized": result}


@contextmanager
def retraining(
    task: Task,
    folder: pathlib.Path,
    num_scales: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Run]:
    """What scales of a finished run are trained again in, beside the run.

    Args:
        task: The opened task; its run is not touched.
        folder: Where the new stages are kept.
        num_scales: The number of scales up to the last that is trained.
        should_stop: Asked after every step.

    Yields:
        A run in that folder, which the same command fills with the same stages.
    """
    tf.config.experimental.enable_op_determinism()
    beside = RunFolder(folder)
    monitor = Monitor(task.config, task.singan.sizes[:num_scales], beside)
    strategy = _strategy(task.config)
    try:
        yield Run(task.config, strategy, beside, monitor, should_stop, task.insides)
    finally:
        monitor.close()


def _strategy(config: Config) -> tf.distribute.Strategy:
    """A run's own, unless that was a cluster's."""
    name = config.runtime.strategy
    return distribution.make_strategy(
        "auto" if name == "multi_worker" else name, config.training.global_batch_size
    )
