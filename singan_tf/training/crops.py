"""Where a step looks: at whole images, or at one random window of each."""

import tensorflow as tf

from singan_tf.model import networks, noise, stages


class Crops:
    """The windows of a scale's images.

    Attributes:
        size: (height, width) of a window, in pixels.
        whole: Whether that is the whole image.
    """

    def __init__(self, image_size: tuple[int, int], side: int):
        """Fits windows into images.

        Args:
            image_size: (height, width) of the images, in pixels.
            side: Of a window, in pixels, cut to the images'; 0 looks at whole images.
        """
        self._image_size = image_size
        self.size = tuple(min(side or length, length) for length in image_size)
        self.whole = self.size == tuple(image_size)

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
        """Cuts one image's windows, one for each seed.

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
        return stages.crop(image, self.corners(seeds, stream), window)
