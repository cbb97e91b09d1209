"""The trained pyramid: a walk over stages, coarse to fine.

This is the model. It knows nothing of training, files or networks, and every
result is a pure function of (weights, seeds, arguments).
"""

from typing import Callable, Optional, Union

import tensorflow as tf

from singan_tf import noise, pyramid
from singan_tf.resize import resize

Scale = Union[int, tf.Tensor]


class SinGAN(tf.Module):
    """Stages from coarse to fine and the noise z* that reproduces the photograph.

    Attributes:
        sizes: (height, width) of each scale of the photograph.
        stages: The trained stages so far, coarse to fine; at most one per scale.
        reconstruction_noise: z*, the noise map of scale 0; those above are zero.
    """

    def __init__(self, sizes: list[tuple[int, int]], channels: int):
        """Creates a pyramid without stages; training or loading appends them.

        Args:
            sizes: Of the scales, coarse to fine.
            channels: Of the images.
        """
        super().__init__()
        self.sizes = sizes
        self.channels = channels
        self.stages = []
        self.reconstruction_noise = None

    def coarsest(self, count: int) -> "SinGAN":
        """The pyramid of the coarsest `count` stages, which it shares."""
        part = SinGAN(self.sizes, self.channels)
        part.stages = self.stages[:count]
        part.reconstruction_noise = self.reconstruction_noise
        return part

    def sample(
        self,
        seeds: tf.Tensor,
        start_scale: Scale = 0,
        height: Optional[Union[int, tf.Tensor]] = None,
        width: Optional[Union[int, tf.Tensor]] = None,
        noise_scale: Union[float, tf.Tensor] = 1.0,
    ) -> tf.Tensor:
        """Random samples (SinGAN, section 2 and figure 8).

        Args:
            seeds: int64 [B], one for each sample.
            start_scale: Scales below it reproduce the photograph, so its layout
                stays; an int, or an int32 tensor [B].
            height: Of the samples in pixels, at the finest trained scale; by
                default the photograph's there.
            width: Likewise.
            noise_scale: Multiplies the noise of every scale; a float, or [B].

        Returns:
            float32 [B, height, width, C] in [-1, 1].

        Raises:
            ValueError: if an int start scale is out of range; tensors are not checked.
        """
        height, width = self._output_size(height, width)
        reconstructions = {}

        def entry(scale, size):
            if not reconstructions:
                images = self.reconstructions(self._last(start_scale))
                reconstructions.update(enumerate(images))
            return bring_up(reconstructions[scale - 1], size)

        return self._walk(seeds, start_scale, entry, height, width, noise_scale)

    def inject(
        self,
        image: tf.Tensor,
        scale: Scale,
        seeds: tf.Tensor,
        noise_scale: Union[float, tf.Tensor] = 1.0,
    ) -> tf.Tensor:
        """Redraws a given image from a scale on (SinGAN, section 4).

        The image is shrunk to the size of the scale below and brought up again,
        so that it enters as blurred as what the generator was trained on.

        Args:
            image: float32 [B, H, W, C] in [-1, 1], at any size.
            scale: The injection scale, at least 1; an int, or an int32 tensor [B].
            seeds: int64 [B].
            noise_scale: As in `sample`.

        Returns:
            float32 [B, H, W, C] in [-1, 1].

        Raises:
            ValueError: if an int scale is out of range; tensors are not checked.
        """
        if isinstance(scale, int) and scale < 1:
            raise ValueError(f"scale {scale} takes no image: inject at 1 or above")
        height, width = image.shape[1], image.shape[2]
        height = tf.shape(image)[1] if height is None else height
        width = tf.shape(image)[2] if width is None else width
        sizes = self._resized(height, width)

        def entry(index, size):
            return bring_up(bring_up(image, sizes[index - 1]), size)

        return self._walk(seeds, scale, entry, height, width, noise_scale)

    def set_reconstruction_noise(self, seed: Union[int, tf.Tensor]) -> None:
        """Draws z*, once the coarsest stage is there.

        Args:
            seed: An int64 scalar.
        """
        drawn = self.draw_reconstruction_noise(seed)
        if self.reconstruction_noise is None:
            self.reconstruction_noise = tf.Variable(drawn, trainable=False)
        else:
            self.reconstruction_noise.assign(drawn)

    def draw_reconstruction_noise(self, seed: Union[int, tf.Tensor]) -> tf.Tensor:
        """A candidate for z*, float32 [1, h, w, 1 or C]."""
        seeds = tf.reshape(tf.cast(seed, tf.int64), [1])
        stream = noise.RECONSTRUCTION_STREAM
        return self.stages[0].noise(seeds, stream, *self.sizes[0])

    def reconstruct(self) -> tf.Tensor:
        """The photograph from z*, float32 [1, H, W, C] in [-1, 1]."""
        return self.reconstructions(len(self.stages))[-1]

    def reconstructions(self, count: int) -> list[tf.Tensor]:
        """The photograph from z* at the coarsest `count` scales, coarse to fine.

        Returns:
            A list of float32 [1, H, W, C] in [-1, 1], each at its scale's size.
        """
        images = []
        for scale, stage in enumerate(self.stages[:count]):
            if scale == 0:
                previous = tf.zeros([1, *self.sizes[0], self.channels])
                noise_map = self.reconstruction_noise
            else:
                previous = bring_up(images[-1], self.sizes[scale])
                noise_map = None
            images.append(_clip(stage(noise_map, previous)))
        return images

    def _walk(
        self,
        seeds: tf.Tensor,
        start: Scale,
        entry: Callable,
        height,
        width,
        noise_scale,
    ) -> tf.Tensor:
        """Runs the stages from `start` on, each row from its own start scale.

        `entry(scale, size)` gives the previous image of a row that starts there.
        """
        seeds = tf.convert_to_tensor(seeds, tf.int64)
        batch = seeds.shape[0] or tf.shape(seeds)[0]
        noise_scale = tf.reshape(tf.cast(noise_scale, tf.float32), [-1, 1, 1, 1])
        fixed = isinstance(start, int)
        if fixed and not 0 <= start < len(self.stages):
            raise ValueError(f"scale {start} is not from 0 to {len(self.stages) - 1}")
        sizes = self._resized(height, width)
        image = None
        for scale in range(start if fixed else 0, len(self.stages)):
            size = sizes[scale]
            if scale == 0:
                previous = tf.zeros([batch, *size, self.channels])
            elif image is None:
                given = entry(scale, size)
                previous = tf.broadcast_to(given, [batch, *size, self.channels])
            else:
                previous = bring_up(image, size)
                if not fixed:
                    starts_here = tf.reshape(start == scale, [-1, 1, 1, 1])
                    previous = tf.where(starts_here, entry(scale, size), previous)
            stage = self.stages[scale]
            noise_map = noise_scale * stage.noise(seeds, scale, *size)
            image = _clip(stage(noise_map, previous))
        return image

    def _last(self, start: Scale) -> int:
        """How many reconstructions the start scales can ask for."""
        return start if isinstance(start, int) else len(self.stages) - 1

    def _output_size(self, height, width):
        trained_height, trained_width = self.sizes[len(self.stages) - 1]
        return (
            trained_height if height is None else height,
            trained_width if width is None else width,
        )

    def _resized(self, height, width) -> list:
        return pyramid.resized_scales(self.sizes[: len(self.stages)], height, width)


def bring_up(image: tf.Tensor, size) -> tf.Tensor:
    """Resizes an image to a scale's size and clips it: the previous image there.

    The reference code passes 8-bit images between scales; the clip is what is
    left of that here, where everything stays in float.
    """
    return _clip(resize(image, *size))


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, -1.0, 1.0)
