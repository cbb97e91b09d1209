"""Where a step looks: at whole images, or at one random window of each."""

from typing import NamedTuple, Optional

import numpy as np
import tensorflow as tf

from singan_tf import inside as inside_lib
from singan_tf.model import networks, noise, stages


class _Places(NamedTuple):
    """Where windows of a photograph lie of which only a part counts.

    Attributes:
        rows: The sum of how much there is to see in the windows of each row of corners
            and of those above it, float64 [h].
        columns: Likewise in each row, from the left, float64 [h, w].
        nearest: The nearest corner to each of a window with much to see, int32
            [h, w, 2].
    """

    rows: tf.Tensor
    columns: tf.Tensor
    nearest: tf.Tensor


class Crops:
    """The windows of a scale's images.

    Attributes:
        size: (height, width) of a window, in pixels.
        whole: Whether that is the whole image.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        side: int,
        inside: Optional[np.ndarray] = None,
        seen_side: int = 1,
    ):
        """Fits windows into images.

        Args:
            image_size: (height, width) of the images, in pixels.
            side: Of a window, in pixels, cut to the images'; 0 looks at whole images.
            inside: What of the photograph counts, bool [H, W]; None for all.
            seen_side: The side of the squares that have to lie inside as a whole to
                count, of which there is one, and no larger than a window.
        """
        self._image_size = image_size
        height, width = (min(side or length, length) for length in image_size)
        self.size = height, width
        self.whole = self.size == tuple(image_size)
        self._places = None
        if inside is not None and not self.whole:
            self._places = _find_places(inside, self.size, seen_side)

    def corners(self, seeds: tf.Tensor, stream: int) -> tf.Tensor:
        """Draws where windows lie, uniformly.

        Args:
            seeds: int64 [B].
            stream: See `noise.uniform`.

        Returns:
            (top, left) of each window, int32 [B, 2].
        """
        (height, width), (crop_height, crop_width) = self._image_size, self.size
        free = tf.constant([height - crop_height, width - crop_width], tf.float32)
        # Uniform numbers are below 1, so every corner is equally likely.
        return tf.cast(noise.uniform(seeds, stream, 2) * (free + 1), tf.int32)

    def cut(
        self, image: tf.Tensor, seeds: tf.Tensor, stream: int, padded: bool = False
    ) -> tf.Tensor:
        """Cuts the photograph's windows, one for each seed, or what belongs to it.

        Where only a part of it counts, all have some of that. Those at the places of
        the fakes' crops stay there or go to the nearest place where there is much of
        it. Others lie anywhere, the more likely the more there is, so that on average
        over windows all of it counts as much as without a mask.

        Args:
            image: float32 [1, H, W, C].
            seeds: int64 [B].
            stream: See `noise.uniform`.
            padded: Whether the image has the border of `networks.pad`, which its
                windows then have, too.

        Returns:
            float32 [B, height, width, C]; whole images B times, if that is the size.
        """
        if self.whole:
            return tf.repeat(image, seeds.shape[0], axis=0)
        border = 2 * networks.MARGIN if padded else 0
        window = [side + border for side in self.size]
        return stages.crop(image, self._corners_inside(seeds, stream), window)

    def _corners_inside(self, seeds: tf.Tensor, stream: int) -> tf.Tensor:
        """Where the photograph's windows lie, int32 [B, 2]."""
        if self._places is None:
            return self.corners(seeds, stream)
        if stream == noise.FAKE_CROP_STREAM:
            return tf.gather_nd(self._places.nearest, self.corners(seeds, stream))
        lots = tf.cast(noise.uniform(seeds, stream, 2), tf.float64)
        totals = self._places.rows
        row = tf.searchsorted(totals, lots[:, 0] * totals[-1], "right")
        row = tf.minimum(row, totals.shape[0] - 1)
        totals = tf.gather(self._places.columns, row)
        column = tf.searchsorted(totals, lots[:, 1:] * totals[:, -1:], "right")[:, 0]
        return tf.stack([row, tf.minimum(column, totals.shape[1] - 1)], axis=1)


def _find_places(inside: np.ndarray, size: tuple[int, int], seen_side: int) -> _Places:
    """Looks at every window; arguments as for `Crops`, `size` that of a window."""
    squares = inside_lib.whole(inside, seen_side)
    height, width = (side - seen_side + 1 for side in size)
    counts = inside_lib.window_sums(squares, (height, width))
    much = np.stack(inside_lib.nearest(counts >= counts.max() / 2), axis=-1)
    return _Places(
        tf.constant(np.cumsum(counts.sum(axis=1)), tf.float64),
        tf.constant(np.cumsum(counts, axis=1), tf.float64),
        tf.constant(much, tf.int32),
    )
