"""Sketch-to-paint: lines become an image, by scales that are trained on sketches."""

import pathlib
import shutil
from typing import Callable, Optional

import numpy as np
from skimage import feature, filters

from singan_tf import files, images
from singan_tf.errors import UserError
from singan_tf.model.singan import SinGAN
from singan_tf.tasks import inputs, painting
from singan_tf.tasks.task import Task
from singan_tf.training import retraining as training

# The folder of the stages that paint sketches.
SKETCHED = "sketched"
# Random samples whose sketches are painted in training, beside the photograph's.
_SKETCHED_SAMPLES = 15
# Canny's, for a sketch: the blur in pixels, and which share of an image's gradients is
# too weak for a line to go on, and to begin.
_SKETCH_BLUR, _SKETCH_WEAK, _SKETCH_STRONG = 1.0, 0.8, 0.9
# Gradients below it are rounding: a step of one in 8 bits makes over 30 times as much.
_SKETCH_ROUNDING = 1e-4


def sketch(image: np.ndarray) -> np.ndarray:
    """Draws the outlines of an image (Canny's edge detector).

    Args:
        image: float32 [1, H, W, C] in [-1, 1].

    Returns:
        float32 [1, H, W, C], thin lines at -1 on 1. How strong an edge must be depends
        on the others, so a pale image has as many lines as a strong one.
    """
    grey = image[0].mean(axis=-1)
    lines = feature.canny(
        grey, _SKETCH_BLUR, _SKETCH_WEAK, _SKETCH_STRONG, use_quantiles=True
    )
    # Where most of an image is flat, what is weak among its gradients is nothing.
    blurred = filters.gaussian(grey, _SKETCH_BLUR, mode="nearest", preserve_range=True)
    lines &= filters.sobel(blurred) > _SKETCH_ROUNDING
    drawn = np.where(lines, np.float32(-1), np.float32(1))
    return np.repeat(drawn[np.newaxis, :, :, np.newaxis], image.shape[-1], axis=-1)


def photograph_sketch(task: Task) -> np.ndarray:
    """The outlines of the photograph, float32 [1, H, W, C] in [-1, 1].

    Raises:
        UserError: if there are none.
    """
    outlines = sketch(task.photograph)
    if outlines.min() == outlines.max():
        raise UserError(
            f"The photograph of the run in {task.run.path} has no outlines, so there "
            "is no sketch to train on; paint blots of colour instead, with quantize."
        )
    return outlines


def read_drawing(task: Task, name: Optional[str], keep_size: bool) -> np.ndarray:
    """Reads what `paint_sketch` paints, and notes if it is not like a sketch.

    Args:
        task: The opened task.
        name: As for `inputs.read_input`; None for the photograph's own sketch,
            mirrored: a painter that remembers rather than paints would not know it.
        keep_size: As for `inputs.read_input`.

    Returns:
        float32 [1, H, W, C] in [-1, 1].

    Raises:
        UserError: as `inputs.read_input`, or if the photograph has no outlines.
    """
    outlines = photograph_sketch(task)
    if name is None:
        return outlines[:, :, ::-1]
    drawing = inputs.read_input(task, name, keep_size)
    if drawing.mean() < 0:
        task.note(
            f"The drawing {images.resolve(name).name} is mostly dark, but sketches are "
            "dark lines on white; invert it if its lines are bright."
        )
    return drawing


def sketch_painter(
    task: Task,
    folder: pathlib.Path,
    scale: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> SinGAN:
    """The run's pyramid with the scales from one on trained to paint sketches.

    What enters in training are the sketches of the photograph, which is to become the
    photograph again, and of random samples, without which nothing would be learned of
    other drawings.

    Args:
        task: The opened task; its run is not touched.
        folder: Where the new stages are kept. If they are there, they are not trained
            again; if some are, or one in part, training goes on.
        scale: Where sketches enter, at least 1.
        should_stop: Asked after every step.

    Returns:
        A pyramid whose reconstruction is the photograph's sketch painted; `inject` at
        that scale paints others.

    Raises:
        session.Interrupted: if `should_stop` said so.
        UserError: if the photograph has no outlines, the run is damaged or training
            diverges.
    """
    sketches = [photograph_sketch(task)]
    draw = task.singan.sampler()
    for seed in range(_SKETCHED_SAMPLES):
        sample = draw([seed], 0, *task.singan.sizes[-1], 1.0).numpy()
        sketches.append(sketch(sample))
    mine = {**task.source(), "scale": scale}
    if files.read_json(folder / "sketched.json") != mine:
        # Left by an earlier call, with another run or at another scale.
        shutil.rmtree(folder, ignore_errors=True)
        files.write_json(folder / "sketched.json", mine)
    with painting.retraining(task, folder, len(task.singan.sizes), should_stop) as run:
        return training.retrain_on_images(
            run, task.singan, task.run, scale, np.concatenate(sketches)
        )


def paint_sketch(
    task: Task,
    drawing: np.ndarray,
    scale: int,
    seed: int,
    should_stop: Callable[[], bool],
) -> dict[str, np.ndarray]:
    """Paints a drawing by stages that are trained on sketches.

    The stages stay in the folder `SKETCHED`; the run's own are not touched.

    Args:
        task: The opened task.
        drawing: Dark lines on white, float32 [1, H, W, C] in [-1, 1].
        scale: The injection scale.
        seed: The seed of the noise.
        should_stop: Asked after every step of training.

    Returns:
        The photograph's sketch, what it is painted to, and the result, by caption.

    Raises:
        session.Interrupted: if `should_stop` said so; another call goes on.
        UserError: see `sketch_painter`.
    """
    painter = sketch_painter(task, task.output_dir / SKETCHED, scale, should_stop)
    outlines, painted = photograph_sketch(task), painter.reconstruct().numpy()
    result = painting.redraw(painter, drawing, scale, seed)
    task.write("sketch.png", outlines)
    task.write("sketch_painted.png", painted)
    task.write(f"scale_{scale:02d}_sketch.png", result)
    return {
        "photograph's sketch": outlines,
        "its sketch, painted": painted,
        f"scale {scale:02d}, trained on sketches": result,
    }
