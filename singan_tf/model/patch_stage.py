"""The stage that puts images together from the photograph's patches, untrained."""

import copy
import functools
import math
from typing import Callable, Optional

import tensorflow as tf

from singan_tf.model import noise, patch_matching, patch_voting
from singan_tf.model.displacement import displace
from singan_tf.model.resize import resize
from singan_tf.model.stage import Stage

# A scale with more patches than this looks for every third patch's nearest, down and
# across, and once: what time it takes grows with the square of their number, and the
# layout is settled below.
_DENSE_PATCHES = 3500
_STRIDE = 3
# Points down and across that a layout moves, each by its own draw. White noise in
# place of a smooth displacement makes near copies of some seeds and rubble of others.
_MOVED = 4


class PatchStage(Stage):
    """A scale made of the photograph's patches: nothing of it is trained.

    At scale 0 the content of the photograph is moved about smoothly and put together
    again from its own patches (`patch_matching`), which is where new layouts come
    from; the stages above do the same to the previous image, to sharpen it.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        iterations: int,
        amplitude: float,
        coarsest: bool,
        wrap: bool,
        votes: bool = False,
    ):
        """Creates the variables; `remember` gives them their values.

        Args:
            size: (height, width) of the scale.
            channels: Of the images.
            iterations: Of patch matching.
            amplitude: How far content moves: the standard deviation, as a share of
                the longer side.
            coarsest: Whether this is scale 0, which has no previous image.
            wrap: Whether the borders continue each other.
            votes: Whether patches count by how well they fit (`patch_voting`).
        """
        super().__init__()
        shape = [1, *size, channels]
        self.real = tf.Variable(tf.zeros(shape), trainable=False)
        self.keys = tf.Variable(tf.zeros(shape), trainable=False)
        self.noise_amplitude = tf.Variable(amplitude, trainable=False)
        self._iterations = iterations
        self._stride = 1
        if (size[0] - patch_matching.PATCH_SIZE + 1) * (
            size[1] - patch_matching.PATCH_SIZE + 1
        ) > _DENSE_PATCHES:
            self._iterations, self._stride = (2, 2) if votes else (1, _STRIDE)
        self._votes = votes
        self._rearrange: Callable[..., tf.Tensor] = patch_matching.rearrange
        if votes:
            self.trust = tf.Variable(patch_voting.TRUST, trainable=False)
            self._rearrange = functools.partial(
                patch_voting.rearrange, trust=self.trust
            )
        self._coarsest = coarsest
        self._wrap = wrap

    def remember(self, real: tf.Tensor, previous: tf.Tensor) -> None:
        """Takes the photograph.

        Args:
            real: At this scale, float32 [1, H, W, C] in [-1, 1].
            previous: That of the scale below, brought up to this scale; not looked at
                at scale 0.
        """
        self.real.assign(real)
        # As blurred as the images whose patches they are compared with.
        self.keys.assign(real if self._coarsest else previous)

    def noise(self, seeds: tf.Tensor, stream: int, height, width) -> tf.Tensor:
        """Draws displacements (down, across), float32 [B, 4, 4, 2], for any size.

        Arguments are those of `ConvolutionalStage.noise`.
        """
        return noise.normal(seeds, stream, [_MOVED, _MOVED, 2])

    def __call__(
        self, noise_map: Optional[tf.Tensor], previous: tf.Tensor
    ) -> tf.Tensor:
        """Makes an image.

        Args:
            noise_map: As `noise` gives it; None moves nothing. Only scale 0 looks at
                it.
            previous: float32 [B, H, W, C] in [-1, 1], with sides of at least 4; only
                its size counts at scale 0.

        Returns:
            float32 [B, H, W, C] in [-1, 1].
        """
        query = previous
        if self._coarsest:
            height, width = (
                previous.shape[axis] or tf.shape(previous)[axis] for axis in (1, 2)
            )
            query = tf.clip_by_value(resize(self.real, height, width), -1.0, 1.0)
            query = tf.broadcast_to(query, tf.shape(previous))
            if noise_map is not None:
                query = displace(query, self.noise_amplitude * noise_map, self._wrap)
            query = tf.ensure_shape(query, previous.shape)
        return self._put_together(query, varied=noise_map is not None)

    def draw_layout(
        self, noise_map: tf.Tensor, layout: tf.Tensor, freedom: tf.Tensor
    ) -> tf.Tensor:
        """Makes an image of a given layout, as scale 0 does of the photograph's.

        Args:
            noise_map: As `noise` gives it, or of more points: float32 [1, h, w, 2].
            layout: Where things are, float32 [1, H, W, C] in [-1, 1].
            freedom: How far each pixel's content moves, as a share of what the noise
                says: float32 [H, W] in [0, 1].

        Returns:
            float32 [1, H, W, C] in [-1, 1].
        """
        shifts = self.noise_amplitude * noise_map
        query = displace(layout, shifts, self._wrap, freedom)
        return self._put_together(query, varied=True)

    def _put_together(self, query: tf.Tensor, varied: bool) -> tf.Tensor:
        """Makes an image of the photograph's patches that looks like the query."""
        # What is enlarged keeps its content: nothing has to turn up in it.
        more = {} if varied or not self._votes else {"alpha": math.inf}
        return self._rearrange(
            query,
            self.keys,
            self.real,
            self._iterations,
            self._wrap,
            self._stride,
            **more,
        )

    def restore(self, noise_map: Optional[tf.Tensor], previous: tf.Tensor) -> tf.Tensor:
        """The photograph here: without noise every patch is its own nearest."""
        return tf.convert_to_tensor(self.real)

    def seamless(self) -> "PatchStage":
        """See `Stage.seamless`."""
        stage = copy.copy(self)
        stage._wrap = True
        return stage
