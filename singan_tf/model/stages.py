"""The kinds of stage, and which of them makes a scale.

The convolutional generator of the paper is one kind; patch matching, `PatchStage`, is
another; and another gives images that were made elsewhere.
"""

import copy
from typing import Optional

import numpy as np
import tensorflow as tf

from singan_tf.config import Config
from singan_tf.model import networks, noise, portable
from singan_tf.model.networks import MARGIN
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.resize import resize
from singan_tf.model.stage import Stage

# An image is computed in strips across its longer side, of about so many pixels, which
# bounds memory: 128 channels of float32 in a layer are 128 MiB then.
_STRIP_PIXELS = 2**18


class ConvolutionalStage(Stage):
    """The generator of one scale with its padding and its noise amplitude."""

    trained = True

    def __init__(
        self,
        generator: networks.Generator,
        noise_channels: int,
        padding: str,
        whole_image: bool = False,
        palette: Optional[np.ndarray] = None,
    ):
        """Wraps a generator.

        Args:
            generator: Its variables must exist.
            noise_channels: 1 for one noise map shared by all colours, else as
                many as the image's.
            padding: See `networks.pad`.
            whole_image: The generator's output at a pixel depends on the whole
                image (instance normalisation), so it cannot run in strips.
            palette: The only colours that previous images keep, float32 [K, C];
                None keeps all.
        """
        super().__init__()
        self.generator = generator
        self.noise_amplitude = tf.Variable(1.0, trainable=False)
        self._noise_channels = noise_channels
        self._padding = padding
        self._whole_image = whole_image
        self.palette = None if palette is None else tf.Variable(palette, False)

    def noise(self, seeds: tf.Tensor, stream: int, height, width) -> tf.Tensor:
        """Draws noise maps for an output of height x width pixels.

        Args:
            seeds: int64 [B].
            stream: See `noise.normal`.
            height: int or scalar tensor.
            width: int or scalar tensor.

        Returns:
            Standard normal, float32 [B, height, width, 1 or C]; with noise padding
            each side has `MARGIN` more pixels.
        """
        extra = 2 * MARGIN if self._padding == "noise" else 0
        shape = [height + extra, width + extra, self._noise_channels]
        return noise.normal(seeds, stream, shape)

    def pad(self, previous: tf.Tensor) -> tf.Tensor:
        """A previous image as the generator takes it: in the palette, and padded.

        Args:
            previous: float32 [B, H, W, C].

        Returns:
            float32 [B, H + 10, W + 10, C].
        """
        if self.palette is not None:
            previous = nearest_colours(previous, self.palette)
        return networks.pad(previous, self._padding)

    def padded_inputs(
        self, noise_map: Optional[tf.Tensor], previous: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the generator takes: (noisy previous, previous), padded.

        Args:
            noise_map: As `noise` gives it; None is no noise.
            previous: float32 [B, H, W, C].

        Returns:
            Two float32 [B, H + 10, W + 10, C].
        """
        padded = self.pad(previous)
        if noise_map is None:
            return padded, padded
        if self._padding != "noise":
            noise_map = networks.pad(noise_map, self._padding)
        return padded + self.noise_amplitude * noise_map, padded

    def padded_crop_inputs(
        self,
        seeds: tf.Tensor,
        stream: int,
        padded: tf.Tensor,
        corners: tf.Tensor,
        crop_size: tuple[int, int],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """`padded_inputs` for one crop of each image, at a cost free of its size.

        The noise is drawn for the crop alone and given the border that `pad` would
        give it, so that what the generator sees has exactly the distribution of a
        crop of the whole image.

        Args:
            seeds: int64 [B].
            stream: See `noise.normal`.
            padded: The previous images by `pad`, float32 [B, H + 10, W + 10, C].
            corners: int32 [B, 2], (top, left) of each crop in the image.
            crop_size: (height, width) of the crop in the image.

        Returns:
            Two float32 [B, height + 10, width + 10, C].
        """
        window = [side + 2 * MARGIN for side in crop_size]
        previous = crop(padded, corners, window)
        noise_map = noise.normal(seeds, stream, window + [self._noise_channels])
        full = [padded.shape[1] - 2 * MARGIN, padded.shape[2] - 2 * MARGIN]
        noise_map = tf.stack(
            [
                self._bordered(noise_map[i], corners[i], window, full)
                for i in range(noise_map.shape[0])
            ]
        )
        return previous + self.noise_amplitude * noise_map, previous

    def _bordered(self, noise_map, corner, window, full):
        """Makes the part of a noise window that lies outside the image its border."""
        if self._padding == "noise":
            return noise_map
        for axis in (0, 1):
            start = corner[axis] - MARGIN
            position = start + tf.range(window[axis])
            outside = (position < 0) | (position >= full[axis])
            if self._padding == "zeros":
                inside = tf.cast(~outside, tf.float32)
                noise_map *= inside[:, None, None] if axis == 0 else inside[:, None]
                continue
            if self._padding == "reflect":
                source = tf.abs(position)
                last = full[axis] - 1
                source = last - tf.abs(last - source)
            else:
                source = tf.math.floormod(position, full[axis])
            # The wrapped end of a circle may lie outside the window; a draw of its
            # own is as good there.
            seen = (source >= start) & (source < start + window[axis])
            local = tf.where(outside & seen, source, position) - start
            noise_map = tf.gather(noise_map, local, axis=axis)
        return noise_map

    def __call__(
        self, noise_map: Optional[tf.Tensor], previous: tf.Tensor
    ) -> tf.Tensor:
        """Makes an image, as at inference (batch norm on its running averages).

        Args:
            noise_map: As `noise` gives it; None is no noise.
            previous: float32 [B, H, W, C] in [-1, 1].

        Returns:
            float32 [B, H, W, C], not clipped.
        """
        noisy, padded = self.padded_inputs(noise_map, previous)
        height, width = previous.shape[1], previous.shape[2]
        small = height and width and height * width <= _STRIP_PIXELS
        if self._whole_image or small or portable.tracing():
            return self.generator((noisy, padded), training=False)
        return self._in_strips(noisy, padded)

    def seamless(self) -> "ConvolutionalStage":
        """See `Stage.seamless`."""
        stage = copy.copy(self)
        stage._padding = "circular"
        return stage

    def _in_strips(self, noisy: tf.Tensor, padded: tf.Tensor) -> tf.Tensor:
        """The same image strip by strip: convolutions are valid, so exact.

        Strips lie across the longer side: each also computes with the margin along
        its length, which is more than the strip itself where a strip is long and thin.
        """
        size = tf.shape(padded)[1:3] - 2 * MARGIN
        tall = size[0] >= size[1]
        along = tf.where(tall, [1, 0], [0, 1])
        longer, shorter = tf.reduce_max(size), tf.reduce_min(size)
        thickness = tf.maximum(_STRIP_PIXELS // shorter, 1)
        count = -(-longer // thickness)
        channels = padded.shape[3]

        def strip(index, strips):
            begin = index * thickness * along
            length = tf.minimum(longer - index * thickness, thickness)
            extent = tf.where(tall, [length, shorter], [shorter, length]) + 2 * MARGIN
            end = begin + extent
            image = self.generator(
                tuple(
                    x[:, begin[0] : end[0], begin[1] : end[1]] for x in (noisy, padded)
                ),
                training=False,
            )
            # TensorArray.concat joins along the first axis: the longer side goes there.
            first = tf.where(tall, [1, 0, 2, 3], [2, 0, 1, 3])
            return index + 1, strips.write(index, tf.transpose(image, first))

        _, strips = tf.while_loop(
            lambda index, _: index < count,
            strip,
            (0, tf.TensorArray(tf.float32, size=count, infer_shape=False)),
            # One strip at a time, or memory is not bounded.
            parallel_iterations=1,
        )
        back = tf.where(tall, [1, 0, 2, 3], [1, 2, 0, 3])
        image = tf.transpose(strips.concat(), back)
        image.set_shape([padded.shape[0], None, None, channels])
        return image


class ImageStage(Stage):
    """Gives images that were made elsewhere: noise chooses, nothing else matters."""

    def __init__(self, images: np.ndarray):
        """Keeps the images.

        Args:
            images: float32 [N, H, W, C] in [-1, 1]; the first one takes the
                photograph's place in reconstructions.
        """
        super().__init__()
        self._images = tf.constant(images)

    def noise(self, seeds: tf.Tensor, stream: int, height, width) -> tf.Tensor:
        """Draws the choice, uniform in [0, 1), float32 [B, 1, 1, 1]."""
        return noise.uniform(seeds, stream, 1)[:, :, tf.newaxis, tf.newaxis]

    def __call__(
        self, noise_map: Optional[tf.Tensor], previous: tf.Tensor
    ) -> tf.Tensor:
        """Gives images, at any size.

        Args:
            noise_map: As `noise` gives it; None chooses the first image.
            previous: [B, H, W, C], for its size.

        Returns:
            float32 [B, H, W, C], not clipped.
        """
        chosen = self._images[:1]
        if noise_map is not None:
            choice = noise_map[:, 0, 0, 0] * self._images.shape[0]
            chosen = tf.gather(self._images, tf.cast(choice, tf.int32))
        size = [previous.shape[axis] or tf.shape(previous)[axis] for axis in (1, 2)]
        return resize(chosen, *size)


def build_stage(
    config: Config,
    scale: int,
    size: tuple[int, int],
    *further_sizes: tuple[int, int],
    patches: bool = False,
    masked: bool = False,
) -> Stage:
    """Creates the stage of a scale of (height, width) pixels, variables included.

    Their values are not those of a run yet. `patches` says that it is made of them
    though it was trained (`LayoutConfig.patches_compete`), `masked` that only a part
    of the photographs is inside; `further_sizes` are those of the photographs after
    the first.
    """
    if config.steps_at(scale) and not patches:
        return build_convolutional_stage(config, scale)
    return build_patch_stage(config, scale, size, *further_sizes, masked=masked)


def build_convolutional_stage(
    config: Config,
    scale: int,
    palette: Optional[np.ndarray] = None,
    synchronized: bool = False,
) -> ConvolutionalStage:
    """Creates the untrained stage of a scale, variables included.

    Args:
        config: Of the run.
        scale: The scale.
        palette: See `ConvolutionalStage`.
        synchronized: See `networks.Generator`.
    """
    network = config.network
    generator = networks.build_generator(config, scale, synchronized)
    return ConvolutionalStage(
        generator,
        # One map for all colours at scale 0, as in the reference code.
        noise_channels=1 if scale == 0 else network.channels,
        padding=network.padding_at(scale),
        whole_image=network.generator_normalization_at(scale) == "instance",
        palette=palette,
    )


def build_patch_stage(
    config: Config,
    scale: int,
    size: tuple[int, int],
    *further_sizes: tuple[int, int],
    masked: bool = False,
) -> PatchStage:
    """Creates the stage of a scale of patches, before it has seen a photograph."""
    return PatchStage(
        size,
        config.network.channels,
        config.layout.patch_iterations,
        # New layouts are made at the coarsest scale alone.
        config.layout.layout_shift if scale == 0 else 0.0,
        coarsest=scale == 0,
        wrap=config.network.padding_at(scale) == "circular",
        votes=config.layout.patch_votes,
        further_sizes=further_sizes,
        masked=masked,
    )


def nearest_colours(images: tf.Tensor, palette: tf.Tensor) -> tf.Tensor:
    """Replaces every pixel by the palette's colour nearest to it.

    Args:
        images: float32 [B, H, W, C].
        palette: float32 [K, C].

    Returns:
        float32 [B, H, W, C].
    """
    distances = [
        tf.reduce_sum((images - colour) ** 2, axis=-1)
        for colour in tf.unstack(tf.convert_to_tensor(palette))
    ]
    return tf.gather(palette, tf.argmin(distances, axis=0))


def crop(images: tf.Tensor, corners: tf.Tensor, size) -> tf.Tensor:
    """Cuts one window from each image.

    Args:
        images: [B, H, W, C], or [1, H, W, C] to cut all windows from one image.
        corners: int32 [B, 2], (top, left).
        size: (height, width).

    Returns:
        [B, height, width, C].
    """
    height, width = size
    windows = []
    for i, corner in enumerate(tf.unstack(corners)):
        image = images[min(i, images.shape[0] - 1)]
        # By its size, not by its end: XLA compiles windows of one size only.
        begin = tf.concat([corner, [0]], axis=0)
        windows.append(tf.slice(image, begin, [height, width, images.shape[3]]))
    return tf.stack(windows)
