"""What a request may hold: all inputs of all signatures, and the limits."""

from typing import NamedTuple, Optional

import tensorflow as tf

from singan_tf.config import MAX_NOISE_SCALE
from singan_tf.model.singan import SinGAN
from singan_tf.tasks.inputs import least_side

MAX_FACTOR = 16


class Limits(NamedTuple):
    """What a request may ask for.

    Attributes:
        max_pixels: The most pixels of one image, given or made.
        max_batch: The most rows of a request.
    """

    max_pixels: int
    max_batch: int


class Input(NamedTuple):
    """What an input means, wherever it occurs.

    Attributes:
        dtype: The type of its values.
        shape: Its shape; None is any size.
        range: Its range, as it follows "must be" in an error's sentence.
        doc: The sentence that explains it.
    """

    dtype: tf.DType
    shape: list[Optional[int]]
    range: str
    doc: str


def inputs(singan: SinGAN, limits: Limits) -> dict[str, Input]:
    """All inputs of all signatures, by name."""
    last = len(singan.stages) - 1
    least_height, least_width = least_sides(singan)
    channels = singan.channels
    area = f"with height x width at most {limits.max_pixels}"
    sides = f"at least {least_height} pixels high and {least_width} wide, {area}"
    return {
        "seed": Input(
            tf.int64,
            [None],
            "any 64-bit integer",
            "The noise: the same seed gives the same image.",
        ),
        "start_scale": Input(
            tf.int32,
            [None],
            f"from 0 to {last}",
            "Scales below it reproduce the photograph: the higher, the less changes.",
        ),
        "height": Input(
            tf.int32,
            [None],
            f"at least {least_height}, {area}",
            "Of the image to make, in pixels; the same in all rows, but for PNG.",
        ),
        "width": Input(
            tf.int32,
            [None],
            f"at least {least_width}, {area}",
            "Of the image to make, in pixels; the same in all rows, but for PNG.",
        ),
        "noise_scale": Input(
            tf.float32,
            [None],
            f"from 0 to {MAX_NOISE_SCALE}",
            "Multiplies the noise of every scale: the higher, the more changes.",
        ),
        "image": Input(tf.uint8, [None, None, None, channels], sides, "The images."),
        "image_bytes": Input(
            tf.string,
            [None],
            f"a PNG file in every row, {sides}",
            "The images, as PNG files; transparent parts are shown on white.",
        ),
        "photograph": Input(
            tf.int32,
            [None],
            f"from 0 to {singan.num_photographs - 1}",
            "Which of the photographs that the model was trained on; the same in all "
            "rows, but for PNG.",
        ),
        "factor": Input(
            tf.float32,
            [None],
            f"from 1 to {MAX_FACTOR}, and the result at most {limits.max_pixels} "
            "pixels",
            "The result's sides are round(factor x the image's); the same in all "
            "rows, but for PNG.",
        ),
        "injection_scale": Input(
            tf.int32,
            [None],
            f"from 1 to {last}",
            "The scale at which the image enters: the lower, the more changes.",
        ),
        "mask": Input(
            tf.uint8,
            [None, None, None, 1],
            "of the height and width of the image, or 1 x 1",
            "255 where the image is redrawn, 0 where it stays exactly as it is, a "
            "blend of both between.",
        ),
        "mask_bytes": Input(
            tf.string,
            [None],
            "a PNG file of the height and width of the image, or empty, in every row",
            "As mask; colours count as bright as they are, and empty is 255.",
        ),
    }


def least_sides(singan: SinGAN) -> list[int]:
    """The least height and width of an image, given or made."""
    return [least_side(*pair) for pair in zip(singan.sizes[-1], singan.sizes[0])]
