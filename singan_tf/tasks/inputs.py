"""What a task is asked to work on: images, sizes and scales, checked beforehand."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.model import networks
from singan_tf.model.singan import bring_up
from singan_tf.tasks.task import Task


def read_input(task: Task, name: str, keep_size: bool) -> np.ndarray:
    """Reads the image that a task works on, and notes at which size.

    Args:
        task: The opened task.
        name: A path, or the name of a photograph that scikit-image carries.
        keep_size: Whether it keeps its size, rather than take the size of the
            run's finest scale.

    Returns:
        float32 [1, H, W, C] in [-1, 1].

    Raises:
        UserError: if it cannot be read, or is too small for the run.
    """
    path = images.resolve(name)
    image = images.read(path, task.singan.channels)
    return brought_to(image, settle_size(task, path, image.shape[1:3], keep_size))


def settle_size(
    task: Task, path: pathlib.Path, size: Sequence[int], keep_size: bool
) -> tuple[int, int]:
    """Settles the size at which a task works on an image, and notes it.

    Args:
        task: The opened task.
        path: The image.
        size: Its (height, width).
        keep_size: As for `read_input`.

    Returns:
        (height, width).

    Raises:
        UserError: if the image is too small for the run.
    """
    finest = task.singan.sizes[-1]
    if keep_size:
        for side, full, coarsest in zip(size, finest, task.singan.sizes[0]):
            least = least_side(full, coarsest)
            if side < least:
                raise UserError(
                    f"{path} is {size_text(size)} pixels, but with this run a side "
                    f"must have at least {least}; use a larger image."
                )
        task.note(f"{path.name} keeps its size of {size_text(size)} pixels.")
        return size[0], size[1]
    if size == finest:
        task.note(f"{path.name} has the run's size of {size_text(size)} pixels.")
    else:
        task.note(
            f"{path.name} was resized from {size_text(size)} to the run's "
            f"{size_text(finest)} pixels (keep_size keeps its size)."
        )
    return finest


def brought_to(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """An image float32 [1, H, W, C], brought to (height, width) if it has another."""
    if image.shape[1:3] == tuple(size):
        return image
    return bring_up(tf.constant(image), size).numpy()


def least_side(full: int, coarsest: int) -> int:
    """The shortest side of an image at the finest scale, in pixels.

    At the coarsest scale, there must be one pixel more than padding mirrors.

    Args:
        full: The run's side at the finest scale.
        coarsest: The run's side at the coarsest scale.
    """
    return -(-full * (networks.MARGIN + 1) // coarsest)


def injection_scales(task: Task, text: str) -> list[int]:
    """The scales that an injection scale names.

    Args:
        task: The opened task.
        text: A number, or "all".

    Returns:
        Coarse to fine, each at least 1: scale 0 takes no image.

    Raises:
        UserError: if it names none of the run's.
    """
    scales = range(1, task.last + 1)
    if text == "all" and scales:
        return list(scales)
    if text in map(str, scales):
        return [int(text)]
    if not scales:
        raise UserError(
            f"The run in {task.run.path} has one scale and takes no image; "
            "train one with more."
        )
    raise UserError(
        f"injection_scale={text} must be all, or a scale of the run in "
        f"{task.run.path}: a whole number from 1 to {task.last}."
    )


def check_trained(task: Task, scale: int, what: str) -> None:
    """Refuses to train a scale again that was never trained.

    Args:
        task: The opened task.
        scale: The injection scale.
        what: What asks for it, such as "quantize".

    Raises:
        UserError: if the scale is made of patches.
    """
    stages = enumerate(task.singan.stages)
    trained = [number for number, stage in stages if number and stage.trained]
    if scale in trained:
        return
    way_out = f"leave out {what}"
    if trained:
        numbers = ", ".join(map(str, trained))
        way_out = f"use injection_scale={numbers}, or {way_out}"
    raise UserError(
        f"{what} trains a scale again, but scale {scale} of the run in "
        f"{task.run.path} is made of patches; {way_out}."
    )


def size_text(size: Sequence[int]) -> str:
    """A (height, width) in words: 30x20 is 30 pixels wide."""
    return f"{size[1]}x{size[0]}"
