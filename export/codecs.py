"""The two forms of images in requests and answers: arrays and PNG files.

A task is written once, for rows of either form; what differs is here. A codec has the
methods of `Arrays`.
"""

from collections.abc import Sequence
from typing import Callable, Union

import numpy as np
import tensorflow as tf

from export.inputs import Input
from export.rows import Rows, after, equal, fitting, map_rows, refuse, require

_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_HEAD = len(_PNG_START) + 8  # and the width and the height
# 8-bit levels as `images.read` gives them. A table, because a graph may turn the
# division into a multiplication, which rounds differently.
_LEVELS = np.arange(256, dtype=np.float32) / 255

Size = Sequence[Union[int, tf.Tensor]]


class Arrays:
    """Images of one size as uint8 [B, H, W, C], masks as uint8 [B, H, W, 1].

    Attributes:
        suffix: What the names of the signatures end in.
        image: The name of an image, given or made.
        mask: The name of a mask.
        everywhere: The mask, of one row, that redraws the whole image.
    """

    suffix = ""
    image = "image"
    mask = "mask"

    def __init__(self, known: dict[str, Input], channels: int):
        """Keeps both.

        Args:
            known: All inputs, by name.
            channels: The model's, 1 or 3.
        """
        self._known = known
        self._channels = channels
        self.everywhere = tf.constant(255, tf.uint8, [1, 1, 1, 1])

    def sized(self, rows: Rows) -> tuple[Rows, tf.Tensor]:
        """Reads how large the given images are.

        Args:
            rows: With images.

        Returns:
            The rows, checked as far as this needs, and (height, width), int64 [1, 2]
            or [B, 2].
        """
        return rows, _sizes(rows[self.image])

    def with_masks(self, rows: Rows, sizes: tf.Tensor) -> Rows:
        """Checks that masks have the size of their images.

        Args:
            rows: With images and masks.
            sizes: As `sized` gave them.

        Returns:
            The rows.
        """
        size = tf.shape(rows[self.mask])[1:3]
        fits = tf.reduce_all(size == tf.shape(rows[self.image])[1:3])
        fits |= tf.reduce_all(size == 1)
        refusal = refuse(self._known, self.mask, ~fits, {self.mask: size})
        return after(rows, refusal)

    def fitting(
        self, rows: Rows, equals: Sequence[str], size: Callable[[Rows], Size]
    ) -> Rows:
        """Checks that the images to make go into one answer.

        Args:
            rows: Of any task.
            equals: Inputs that must then be the same in all rows.
            size: Takes the rows; gives the height and width of an image to make.

        Returns:
            The rows.
        """
        if equals:
            rows = equal(rows, *equals)
        return fitting(rows, size(rows), self._channels)

    def read_image(self, row: Rows) -> tf.Tensor:
        """The image of a row: float32 [1, H, W, C] in [-1, 1]."""
        levels = tf.gather(_LEVELS, tf.cast(row[self.image], tf.int32))
        return _normalized(levels)

    def read_mask(self, row: Rows) -> tf.Tensor:
        """The mask of a row: float32 [H, W, 1] in [0, 1], or [1, 1, 1]."""
        return tf.gather(_LEVELS, tf.cast(row[self.mask], tf.int32))

    def answer(self, function: Callable[[Rows], tf.Tensor], rows: Rows) -> Rows:
        """Makes the images.

        Args:
            function: Takes a row; gives uint8 [H, W, C].
            rows: Checked ones.

        Returns:
            The output by its name.
        """
        spec = tf.TensorSpec([None, None, self._channels], tf.uint8)
        return {self.image: map_rows(function, rows, spec)}

    def repeated(self, image: tf.Tensor, count: tf.Tensor) -> Rows:
        """The answer that is the same image, uint8 [H, W, C], in all rows."""
        return {self.image: tf.repeat(image[tf.newaxis], count, axis=0)}


class Png:
    """Images and masks as strings that hold PNG files, whose sizes may differ.

    The attributes and methods are those of `Arrays`.
    """

    suffix = "_png"
    image = "image_bytes"
    mask = "mask_bytes"

    def __init__(self, known: dict[str, Input], channels: int):
        """As in `Arrays`."""
        self._known = known
        self._channels = channels
        self.everywhere = tf.constant([""])

    def sized(self, rows: Rows) -> tuple[Rows, tf.Tensor]:
        """As in `Arrays`."""
        return _checked_png(self._known, rows, self.image)

    def with_masks(self, rows: Rows, sizes: tf.Tensor) -> Rows:
        """As in `Arrays`; an empty mask fits every image."""
        empty = rows[self.mask] == ""
        stand_in = tf.where(empty, _PNG_START + bytes(8), rows[self.mask])
        checked, mask_sizes = _checked_png(
            self._known, {**rows, self.mask: stand_in}, self.mask
        )
        fits = tf.reduce_all(mask_sizes == sizes, axis=1) | empty
        refusal = refuse(self._known, self.mask, ~fits, {self.mask: mask_sizes})
        return after({**checked, self.mask: rows[self.mask]}, refusal)

    def fitting(
        self, rows: Rows, equals: Sequence[str], size: Callable[[Rows], Size]
    ) -> Rows:
        """The rows as they are: files may differ, and are small."""
        return rows

    def read_image(self, row: Rows) -> tf.Tensor:
        """As in `Arrays`."""
        return _normalized(_decode(row, self.image, self._channels))

    def read_mask(self, row: Rows) -> tf.Tensor:
        """As in `Arrays`."""
        return tf.cond(
            row[self.mask] == "",
            lambda: tf.ones([1, 1, 1]),
            lambda: _decode(row, self.mask, 1),
        )

    def answer(self, function: Callable[[Rows], tf.Tensor], rows: Rows) -> Rows:
        """As in `Arrays`."""
        spec = tf.TensorSpec([], tf.string)
        files = map_rows(lambda row: tf.io.encode_png(function(row)), rows, spec)
        return {self.image: files}

    def repeated(self, image: tf.Tensor, count: tf.Tensor) -> Rows:
        """As in `Arrays`."""
        return {self.image: tf.fill([count], tf.io.encode_png(image))}


Codec = Union[Arrays, Png]


def _checked_png(
    known: dict[str, Input], rows: Rows, name: str
) -> tuple[Rows, tf.Tensor]:
    """Checks that files begin as PNG; reads their sizes, int64 [rows, 2].

    A decoder takes the memory that the file's first bytes ask for, so they are read
    here before it sees them.
    """
    heads = tf.strings.substr(rows[name], 0, _PNG_HEAD)
    is_png = tf.strings.substr(heads, 0, len(_PNG_START)) == _PNG_START
    is_png &= tf.strings.length(heads) == _PNG_HEAD
    sentence = f"{name} must be {known[name].range}; something else was given"
    rows = after(rows, require(is_png, sentence))
    heads = tf.strings.substr(rows[name], len(_PNG_START), 8)
    sizes = tf.io.decode_raw(heads, tf.int32, little_endian=False)
    # The first bit of a length is never set; int32 would make it a sign.
    sizes = tf.cast(sizes, tf.int64)[:, ::-1]
    return rows, tf.where(sizes < 0, tf.constant(2**31 - 1, tf.int64), sizes)


def _sizes(images: tf.Tensor) -> tf.Tensor:
    """(height, width) of images, int64 [1, 2]."""
    return tf.shape(images, tf.int64)[tf.newaxis, 1:3]


def _decode(row: Rows, name: str, channels: int) -> tf.Tensor:
    """A PNG file as `images.read` reads it, float32 [H, W, channels] in [0, 1].

    All kinds of PNG are decoded as 8-bit colour with transparency. That a file is
    damaged is told by the operation, which therefore has the input's name.
    """
    pixels = tf.io.decode_png(row[name], channels=4, name=f"{name}_decoded")
    # Where a file has no transparency, the decoder puts the highest level there is
    # before it makes 8 bits of fewer.
    depth = tf.io.decode_raw(tf.strings.substr(row[name], _PNG_HEAD, 1), tf.uint8)
    highest = tf.bitwise.left_shift(1, tf.minimum(tf.cast(depth, tf.int32), 8)) - 1
    opaque = tf.reduce_all(tf.cast(pixels[:, :, 3], tf.int32) == highest)
    pixels = tf.gather(_LEVELS, tf.cast(pixels, tf.int32))
    colour, alpha = pixels[:, :, :3], pixels[:, :, 3:]
    colour = tf.where(opaque, colour, colour * alpha + (1 - alpha))
    if channels == 3:
        return colour
    red, green, blue = tf.split(colour, 3, axis=-1)
    # ITU-R 601 luma, written so that grey stays exactly as it is.
    return red + 0.587 * (green - red) + 0.114 * (blue - red)


def _normalized(image: tf.Tensor) -> tf.Tensor:
    """[H, W, C] in [0, 1] as what the model takes: [1, H, W, C] in [-1, 1]."""
    return image[tf.newaxis] * 2 - 1
