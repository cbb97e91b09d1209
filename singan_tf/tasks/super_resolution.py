"""Super-resolution: the finest stage enlarges an image, again and again."""

import math
from collections.abc import Iterator
from typing import Callable

import numpy as np
import tensorflow as tf

from singan_tf import images
from singan_tf.errors import UserError
from singan_tf.model.resize import resize
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.tasks.inputs import size_text
from singan_tf.tasks.task import Task

# The factor that a step of super-resolution comes close to (SinGAN, section 4).
_STEP_FACTOR = 2 ** (1 / 3)

# What `strength` is if nothing else is asked for, and of a served model.
STRENGTH = 0.8


def check_area(size: tuple[int, int], what: str) -> None:
    """Refuses to make an image that could not be read again.

    Args:
        size: (height, width) of the result.
        what: What asked for it, such as "factor=16".

    Raises:
        UserError: if it has too many pixels.
    """
    if size[0] * size[1] > images.MAX_PIXELS:
        raise UserError(
            f"{what} makes {size_text(size)} pixels, but the most is "
            f"{images.MAX_PIXELS // 10**6} megapixels; ask for less."
        )


def read_reference(task: Task, name: str, size: tuple[int, int]) -> np.ndarray:
    """Reads what a result is compared with.

    Args:
        task: The opened task.
        name: A path, or the name of a photograph that scikit-image carries.
        size: (height, width) of the result.

    Returns:
        float32 [1, height, width, C] in [-1, 1].

    Raises:
        UserError: if it cannot be read, or has another size.
    """
    path = images.resolve(name)
    reference = images.read(path, task.singan.channels)
    if reference.shape[1:3] != tuple(size):
        raise UserError(
            f"The reference {path} is {size_text(reference.shape[1:3])} pixels, but "
            f"the result is {size_text(size)}; crop it, or change the factor."
        )
    return reference


def super_resolution_sizes(
    height: int, width: int, factor: float
) -> list[tuple[int, int]]:
    """The sizes that super-resolution goes through.

    Args:
        height: Of the image, in pixels.
        width: Likewise.
        factor: At least 1.

    Returns:
        (height, width) after each step, the last one round(factor * size); their
        ratio is the one closest to 2 ** (1/3) that makes a whole number of steps.

    Raises:
        ValueError: if the factor is below 1.
    """
    if factor < 1:
        raise ValueError(f"factor {factor} is below 1")
    factor = tf.constant(factor, tf.float64)
    sizes = _super_resolution_sizes(tf.constant([height, width]), factor)
    return [tuple(size) for size in sizes.numpy().tolist()]


def _super_resolution_sizes(size: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """The same, int64 [steps, 2], for a size and a float64 factor in a graph."""
    steps = tf.round(tf.math.log(factor) * (1 / math.log(_STEP_FACTOR)))
    steps = tf.maximum(steps, 1)
    factors = factor ** (tf.range(1, steps + 1) / steps)
    return tf.cast(
        tf.round(tf.cast(size, tf.float64) * factors[:, tf.newaxis]), tf.int64
    )


def super_resolve(
    singan: SinGAN,
    image: np.ndarray,
    factor: float,
    seed: int,
    strength: float = STRENGTH,
    back_projection: bool = True,
) -> np.ndarray:
    """Enlarges an image by the finest stage, applied again and again.

    Textures repeat across sizes, so the step from the last scale but one to the
    last serves as the step beyond it, too (SinGAN, section 4). What a step invents
    may move colours and edges; back-projection (Irani and Peleg, 1991, one
    iteration) then adds, enlarged, what the image has and the result shrunk to the
    image's size has not.

    Args:
        singan: The trained pyramid.
        image: float32 [1, H, W, C] in [-1, 1].
        factor: At least 1.
        seed: The seed of the noise.
        strength: How much each step takes of what the stage adds to plain
            enlargement, 0 to 1. The paper takes all, and what is too sharp after
            one step is far too sharp after six.
        back_projection: Whether each step is followed by it; the paper has none.

    Returns:
        float32 [1, round(factor * H), round(factor * W), C] in [-1, 1].

    Raises:
        ValueError: if the factor is below 1.
    """
    *_, result = super_resolution(
        singan, image, factor, seed, strength, back_projection
    )
    return result


def super_resolution(
    singan: SinGAN,
    image: np.ndarray,
    factor: float,
    seed: int,
    strength: float = STRENGTH,
    back_projection: bool = True,
) -> Iterator[np.ndarray]:
    """`super_resolve` step by step, for who wants to see how far it is.

    Arguments and errors are those of `super_resolve`.

    Yields:
        float32 [1, H, W, C] in [-1, 1] after each step, at the sizes of
        `super_resolution_sizes`; the last one is the result.
    """
    height, width = image.shape[1:3]
    sizes = super_resolution_sizes(height, width, factor)
    take_step = _super_resolution_step(singan, strength, back_projection)
    image, seeds = tf.constant(image), tf.constant([seed], tf.int64)
    result = image
    for step, size in enumerate(sizes):
        result = take_step(
            image, result, tf.constant(size, tf.int64), seeds, tf.constant(step)
        )
        yield result.numpy()


def super_resolver(
    singan: SinGAN, strength: float = STRENGTH, back_projection: bool = True
) -> Callable:
    """`super_resolve` as a graph, for images and factors not known beforehand.

    Args:
        singan: The trained pyramid.
        strength: As in `super_resolve`.
        back_projection: Likewise.

    Returns:
        A tf.function of image float32 [1, H, W, C], factor float64 and seeds int64
        [1], that gives the enlarged image.
    """
    shape = [1, None, None, singan.channels]
    take_step = _super_resolution_step(singan, strength, back_projection)

    @tf.function(
        input_signature=[
            tf.TensorSpec(shape, tf.float32, "image"),
            tf.TensorSpec([], tf.float64, "factor"),
            tf.TensorSpec([1], tf.int64, "seeds"),
        ],
        autograph=False,
    )
    def enlarge(image, factor, seeds):
        sizes = _super_resolution_sizes(tf.shape(image)[1:3], factor)
        _, result = tf.while_loop(
            lambda step, _: step < tf.shape(sizes)[0],
            lambda step, result: (
                step + 1,
                take_step(image, result, sizes[step], seeds, step),
            ),
            (0, image),
            (tf.TensorShape([]), tf.TensorShape(shape)),
            parallel_iterations=1,
        )
        return result

    return enlarge


def written_out(
    singan: SinGAN,
    image: tf.Tensor,
    sizes: list[tuple[int, int]],
    seeds: tf.Tensor,
    strength: float = STRENGTH,
    back_projection: bool = True,
) -> tf.Tensor:
    """`super_resolve` without a loop, for sizes that are known when it is traced.

    Args:
        singan: The trained pyramid.
        image: float32 [1, H, W, C] in [-1, 1].
        sizes: Those of `super_resolution_sizes`.
        seeds: int64 [1].
        strength: As in `super_resolve`.
        back_projection: Likewise.

    Returns:
        float32 [1, *sizes[-1], C] in [-1, 1].
    """
    larger = _stepper(singan, strength, back_projection)
    result = image
    for step, size in enumerate(sizes):
        result = larger(image, result, size, seeds, step)
    return result


def _super_resolution_step(
    singan: SinGAN, strength: float, back_projection: bool
) -> Callable:
    """A step of super-resolution as a graph, so that it is the same wherever it runs.

    Returns:
        A tf.function of the image float32 [1, H, W, C], the result so far, the size
        after the step int64 [2], seeds int64 [1] and the step's number int32, that
        gives the result after the step.
    """
    larger = _stepper(singan, strength, back_projection)
    image_spec = tf.TensorSpec([1, None, None, singan.channels], tf.float32)

    @tf.function(
        input_signature=[
            image_spec,
            image_spec,
            tf.TensorSpec([2], tf.int64),
            tf.TensorSpec([1], tf.int64),
            tf.TensorSpec([], tf.int32),
        ],
        autograph=False,
    )
    def take_step(image, result, size, seeds, step):
        return larger(image, result, tf.unstack(size), seeds, step)

    return take_step


def _stepper(singan: SinGAN, strength: float, back_projection: bool) -> Callable:
    """The same as a function for sides that are ints or tensors, in any graph."""
    stage = singan.stages[-1]

    def larger(image, result, size, seeds, step):
        enlarged = bring_up(result, size)
        stream = len(singan.stages) + tf.cast(step, tf.int64)
        # Patches are not varied: what is enlarged keeps its content.
        noise_map = stage.noise(seeds, stream, *size) if stage.trained else None
        drawn = _clip(stage(noise_map, enlarged))
        result = enlarged + strength * (drawn - enlarged)
        if back_projection:
            sides = image.shape[1:3]
            if not sides.is_fully_defined():
                sides = tf.unstack(tf.shape(image)[1:3])
            missing = image - resize(result, *sides)
            result = _clip(result + resize(missing, *size))
        return result

    return larger


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, -1.0, 1.0)


def enlarge(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation to (height, width), what super-resolution must beat."""
    return bring_up(tf.constant(image), size).numpy()


def detail(image: np.ndarray, side: int = 128) -> np.ndarray:
    """The middle of an image, at most side x side pixels."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[1:3])
    return image[:, top : top + side, left : left + side]
