"""The trained pyramid: a walk over stages, coarse to fine.

This is the model. It knows nothing of training, files or networks, and every
result is a pure function of (weights, seeds, arguments).
"""

import functools
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import tensorflow as tf

from singan_tf.model import noise, portable, pyramid
from singan_tf.model.resize import resize
from singan_tf.model.stages import Stage

Scale = Union[int, tf.Tensor]


class SinGAN(tf.Module):
    """Stages from coarse to fine and the noise z* that reproduces the photograph.

    Of several photographs the stages are the same, sizes and z* are those of one of
    them: of the first, unless `of` says of which.

    Attributes:
        sizes: (height, width) of each scale of the photograph.
        further_sizes: Those of each photograph after the first.
        photograph: Number of the photograph.
        stages: The trained stages so far, coarse to fine; at most one per scale.
        reconstruction_noise: z*, the noise map of scale 0; those above are zero.
        further_noise: z* of each photograph after the first.
    """

    def __init__(
        self,
        sizes: list[tuple[int, int]],
        channels: int,
        further_sizes: Sequence[list[tuple[int, int]]] = (),
    ):
        """Creates a pyramid without stages; training or loading appends them.

        Args:
            sizes: Of the scales, coarse to fine.
            channels: Of the images.
            further_sizes: Of the scales of each photograph after the first.
        """
        super().__init__()
        self.sizes = sizes
        self.further_sizes = further_sizes
        self.photograph = 0
        self.channels = channels
        self.stages: list[Any] = []
        self.reconstruction_noise = None
        self.further_noise: Sequence[tf.Variable] = ()

    @property
    def num_photographs(self) -> int:
        """How many photographs there are, at least one."""
        return 1 + len(self.further_sizes)

    def of(self, photograph: int) -> "SinGAN":
        """The pyramid of one of the photographs, which shares the stages.

        Args:
            photograph: Its number, below `num_photographs`.
        """
        pyramid_of_it = self.coarsest(len(self.stages))
        if photograph:
            pyramid_of_it.photograph = photograph
            pyramid_of_it.sizes = self.further_sizes[photograph - 1]
            noise_of_it = self.further_noise[photograph - 1 : photograph]
            pyramid_of_it.reconstruction_noise = noise_of_it[0] if noise_of_it else None
        return pyramid_of_it

    def each(self) -> list["SinGAN"]:
        """The pyramid of each of the photographs; see `of`."""
        return [self.of(photograph) for photograph in range(self.num_photographs)]

    def sizes_at(self, scale: int) -> list[tuple[int, int]]:
        """(height, width) of each of the photographs at a scale."""
        return [sizes[scale] for sizes in (self.sizes, *self.further_sizes)]

    def coarsest(self, count: int) -> "SinGAN":
        """The pyramid of the coarsest `count` stages, which it shares."""
        part = SinGAN(self.sizes, self.channels, self.further_sizes)
        part.photograph = self.photograph
        part.stages = self.stages[:count]
        part.reconstruction_noise = self.reconstruction_noise
        part.further_noise = self.further_noise
        return part

    def with_stage(self, stage: Stage) -> "SinGAN":
        """The pyramid with one more stage, which shares the others."""
        grown = self.coarsest(len(self.stages))
        grown.stages = [*self.stages, stage]
        return grown

    def append(
        self,
        stage: Stage,
        reconstruction_noise: Optional[tf.Variable],
        further_noise: Sequence[tf.Variable] = (),
    ) -> None:
        """Appends a stage that is what it is going to be.

        Args:
            stage: All its values are set.
            reconstruction_noise: z*, which the coarsest stage comes with.
            further_noise: z* of each photograph after the first.
        """
        self.stages.append(stage)
        self.reconstruction_noise = reconstruction_noise
        self.further_noise = further_noise

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
                stays; an int, or a scalar int32 tensor.
            height: Of the samples in pixels, at the finest trained scale; by
                default the photograph's there.
            width: Likewise.
            noise_scale: Multiplies the noise of every scale; a float, or [B].

        Returns:
            float32 [B, height, width, C] in [-1, 1].

        Raises:
            ValueError: if an int start scale is out of range; tensors are not checked.
        """
        self._check(start_scale, least=0)
        sizes = self._resized(*self._output_size(height, width))
        image = None
        for scale, size in enumerate(sizes):
            image = _either(
                scale < start_scale,
                functools.partial(self._restore, scale, image),
                functools.partial(self._draw, scale, image, size, seeds, noise_scale),
            )
        return image

    def draw(
        self, scale: int, below: Optional[tf.Tensor], seeds: tf.Tensor
    ) -> tf.Tensor:
        """Random samples of one scale, from samples of the scale below.

        Args:
            scale: The scale.
            below: float32 [B, h, w, C], which `draw` gave for the same seeds; None at
                scale 0.
            seeds: int64 [B].

        Returns:
            float32 [B, H, W, C] in [-1, 1], what `sample` gives for the seeds when
            the pyramid ends at this scale.
        """
        return self._draw(scale, below, self.sizes[scale], seeds, 1.0)

    def sampler(self) -> Callable:
        """`sample` for one seed as a graph, the same bits wherever it runs.

        TensorFlow fuses operations in graphs and not outside them, and a fused
        operation rounds differently: what is to be equal to the last bit, on the
        command line and behind a server, has to run this.

        Returns:
            A tf.function of seeds int64 [1], start_scale, height and width int32 and
            noise_scale float32, that gives float32 [1, height, width, C].
        """
        return tf.function(
            self.sample,
            input_signature=[
                tf.TensorSpec([1], tf.int64, "seeds"),
                tf.TensorSpec([], tf.int32, "start_scale"),
                tf.TensorSpec([], tf.int32, "height"),
                tf.TensorSpec([], tf.int32, "width"),
                tf.TensorSpec([], tf.float32, "noise_scale"),
            ],
            autograph=False,
        )

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
            scale: The injection scale, at least 1; an int, or a scalar int32 tensor.
            seeds: int64 [B].
            noise_scale: As in `sample`.

        Returns:
            float32 [B, H, W, C] in [-1, 1].

        Raises:
            ValueError: if an int scale is out of range; tensors are not checked.
        """
        self._check(scale, least=1)
        height, width = image.shape[1], image.shape[2]
        height = tf.shape(image)[1] if height is None else height
        width = tf.shape(image)[2] if width is None else width
        sizes = self._resized(height, width)
        first = scale if isinstance(scale, int) else 1
        result = bring_up(image, sizes[first - 1])
        for index in range(first, len(sizes)):
            size = sizes[index]
            result = _either(
                index < scale,
                functools.partial(bring_up, image, size),
                functools.partial(self._draw, index, result, size, seeds, noise_scale),
            )
        return result

    def set_reconstruction_noise(self, seed: Optional[Union[int, tf.Tensor]]) -> None:
        """Draws z* of each photograph, once the coarsest stage is there.

        Args:
            seed: An int64 scalar; with None z* is zero, for a stage that restores the
                photograph from no noise.
        """
        drawn = [
            each.draw_reconstruction_noise(0 if seed is None else seed)
            for each in self.each()
        ]
        if seed is None:
            drawn = [tf.zeros_like(each) for each in drawn]
        if self.reconstruction_noise is None:
            self.reconstruction_noise, *self.further_noise = (
                tf.Variable(each, trainable=False) for each in drawn
            )
            return
        for held, each in zip((self.reconstruction_noise, *self.further_noise), drawn):
            held.assign(each)

    def draw_reconstruction_noise(self, seed: Union[int, tf.Tensor]) -> tf.Tensor:
        """A candidate for z*, float32 [1, h, w, 1 or C]."""
        seeds = tf.reshape(tf.cast(seed, tf.int64), [1])
        stream = noise.RECONSTRUCTION_STREAM
        if self.photograph:
            # Two photographs of one size are not to begin with the same noise.
            stream = noise.FURTHER_RECONSTRUCTION_STREAM + self.photograph
        return self.stages[0].noise(seeds, stream, *self.sizes[0])

    def reconstruct(self) -> tf.Tensor:
        """The photograph from z*, float32 [1, H, W, C] in [-1, 1]."""
        return self.reconstructions(len(self.stages))[-1]

    def reconstructions(self, count: int) -> list[tf.Tensor]:
        """The photograph from z* at the coarsest `count` scales, coarse to fine.

        Returns:
            A list of float32 [1, H, W, C] in [-1, 1], each at its scale's size.
        """
        images: list[tf.Tensor] = []
        for scale in range(count):
            images.append(self._restore(scale, images[-1] if images else None))
        return images

    def _restore(self, scale: int, image: Optional[tf.Tensor]) -> tf.Tensor:
        """The photograph at a scale, from that at the scale below."""
        size = self.sizes[scale]
        if scale == 0:
            previous = tf.zeros([1, *size, self.channels])
            noise_map = self.reconstruction_noise
        else:
            noise_map, previous = None, bring_up(image, size)
        stage = self.stages[scale]
        return _clip(stage.restore(noise_map, previous, self.photograph))

    def _draw(
        self,
        scale: int,
        image: Optional[tf.Tensor],
        size,
        seeds: tf.Tensor,
        noise_scale: Union[float, tf.Tensor],
    ) -> tf.Tensor:
        """Images at a scale, from those at the scale below and fresh noise."""
        seeds = tf.convert_to_tensor(seeds, tf.int64)
        shape = [seeds.shape[0] or tf.shape(seeds, tf.int64)[0], *size, self.channels]
        if scale == 0:
            previous = tf.zeros(shape)
        else:
            previous = tf.broadcast_to(bring_up(image, size), shape)
        stage = self.stages[scale]
        noise_scale = tf.reshape(tf.cast(noise_scale, tf.float32), [-1, 1, 1, 1])
        return _clip(stage(noise_scale * stage.noise(seeds, scale, *size), previous))

    def _check(self, scale: Scale, least: int) -> None:
        last = len(self.stages) - 1
        if isinstance(scale, int) and not least <= scale <= last:
            raise ValueError(f"scale {scale} is not from {least} to {last}")

    def _output_size(self, height, width):
        trained_height, trained_width = self.sizes[len(self.stages) - 1]
        return (
            trained_height if height is None else height,
            trained_width if width is None else width,
        )

    def _resized(self, height, width) -> list:
        # The formula multiplies sides, which int32 does not bear.
        height, width = (
            side if isinstance(side, int) else tf.cast(side, tf.int64)
            for side in (height, width)
        )
        return pyramid.resized_scales(self.sizes[: len(self.stages)], height, width)


def bring_up(image: tf.Tensor, size) -> tf.Tensor:
    """Resizes an image to a scale's size and clips it: the previous image there.

    The reference code passes 8-bit images between scales; the clip is what is
    left of that here, where everything stays in float.
    """
    return _clip(resize(image, *size))


def _clip(image: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(image, -1.0, 1.0)


def _either(condition: Union[bool, tf.Tensor], yes: Callable, no: Callable):
    """Calls one of two functions, also where only the running graph knows which."""
    if isinstance(condition, bool):
        return yes() if condition else no()
    if portable.tracing():
        return tf.where(condition, yes(), no())
    return tf.cond(condition, yes, no)
