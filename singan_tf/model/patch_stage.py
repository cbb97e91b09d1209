"""The stage that puts images together from the photograph's patches, untrained."""

import copy
import functools
import math
from collections.abc import Sequence
from typing import Callable, Optional

import numpy as np
import tensorflow as tf

from singan_tf.model import noise, patch_matching, patch_places, patch_voting
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
    from; the stages above do the same to the previous image, to sharpen it. Of several
    photographs the noise chooses one whose content is moved, and the patches of all
    are used.

    Attributes:
        nearest: The tables of `patch_places`, where a part of the photographs is
            masked: which of their patches are used. None where all are.
    """

    # Not an empty list of each: what has no mask has the checkpoints that it had.
    nearest: Sequence[tf.Variable] = ()

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        iterations: int,
        amplitude: float,
        coarsest: bool,
        wrap: bool,
        votes: bool = False,
        further_sizes: Sequence[tuple[int, int]] = (),
        masked: bool = False,
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
            further_sizes: (height, width) of the photographs after the first.
            masked: Whether only a part of the photographs is inside; `restrict` says
                which.
        """
        super().__init__()
        self.real, self.keys = (_image(size, channels) for _ in range(2))
        # Of one photograph, a checkpoint knows of no others.
        if further_sizes:
            self.further_reals = [_image(each, channels) for each in further_sizes]
            self.further_keys = [_image(each, channels) for each in further_sizes]
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
        if masked:
            sizes = (size, *further_sizes)
            count = patch_voting.num_sizes(*sizes) if votes else 1
            self.nearest = [
                tf.Variable(tf.zeros([patches], tf.int64), trainable=False)
                for patches in patch_places.counts(sizes, count)
            ]
        self._coarsest = coarsest
        self._wrap = wrap

    @property
    def reals(self) -> list[tf.Variable]:
        """The photographs at this scale, each float32 [1, H, W, C] in [-1, 1]."""
        return [self.real, *getattr(self, "further_reals", ())]

    def remember(
        self, real: tf.Tensor, previous: tf.Tensor, photograph: int = 0
    ) -> None:
        """Takes a photograph.

        Args:
            real: At this scale, float32 [1, H, W, C] in [-1, 1].
            previous: That of the scale below, brought up to this scale; not looked at
                at scale 0.
            photograph: Its number.
        """
        self.reals[photograph].assign(real)
        # As blurred as the images whose patches they are compared with.
        self._all_keys[photograph].assign(real if self._coarsest else previous)

    def restrict(self, insides: Sequence[Optional[np.ndarray]]) -> None:
        """Has only patches used that lie inside as a whole; of a masked stage.

        Args:
            insides: What may be used of each photograph, bool [H, W]; None for all.
        """
        parts = [
            np.ones(real.shape[1:3], bool) if inside is None else inside
            for real, inside in zip(self.reals, insides)
        ]
        tables = patch_places.tables(parts, len(self.nearest))
        for variable, table in zip(self.nearest, tables):
            variable.assign(table)

    def noise(self, seeds: tf.Tensor, stream: int, height, width) -> tf.Tensor:
        """Draws displacements (down, across), float32 [B, 4, 4, 2], for any size.

        Arguments are those of `ConvolutionalStage.noise`. Of several photographs, a
        third number chooses one: float32 [B, 4, 4, 3].
        """
        numbers = 2 if len(self.reals) == 1 else 3
        return noise.normal(seeds, stream, [_MOVED, _MOVED, numbers])

    def of_first(self, noise_map: tf.Tensor) -> tf.Tensor:
        """Noise that moves the same, but the first photograph."""
        return noise_map[..., :2]

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
            layouts = [resize(real, height, width) for real in self.reals]
            layouts = tf.clip_by_value(tf.concat(layouts, axis=0), -1.0, 1.0)
            one = len(self.reals) == 1
            if noise_map is None or one or noise_map.shape[3] == 2:
                query = tf.broadcast_to(layouts[:1], tf.shape(previous))
            else:
                query = tf.gather(layouts, _choices(noise_map, len(self.reals)))
            if noise_map is not None:
                shifts = self.noise_amplitude * noise_map[..., :2]
                query = displace(query, shifts, self._wrap)
            query = tf.ensure_shape(query, previous.shape)
        return self._put_together(query, varied=noise_map is not None)

    def draw_layout(
        self, noise_map: tf.Tensor, layout: tf.Tensor, freedom: tf.Tensor
    ) -> tf.Tensor:
        """Makes an image of a given layout, as scale 0 does of the photograph's.

        Args:
            noise_map: As `noise` gives it, for one image, or of more points.
            layout: Where things are, float32 [1, H, W, C] in [-1, 1].
            freedom: How far each pixel's content moves, as a share of what the noise
                says: float32 [H, W] in [0, 1].

        Returns:
            float32 [1, H, W, C] in [-1, 1].
        """
        shifts = self.noise_amplitude * self.of_first(noise_map)
        query = displace(layout, shifts, self._wrap, freedom)
        return self._put_together(query, varied=True)

    def _put_together(self, query: tf.Tensor, varied: bool) -> tf.Tensor:
        """Makes an image of the photograph's patches that looks like the query."""
        # What is enlarged keeps its content: nothing has to turn up in it. Nor has all
        # of one photograph in what is laid out as another.
        enlarged = self._votes and not varied
        more = {"alpha": math.inf} if enlarged or len(self.reals) > 1 else {}
        return self._rearrange(
            query,
            self._all_keys,
            self.reals,
            self._iterations,
            self._wrap,
            self._stride,
            nearest=self.nearest,
            **more,
        )

    def restore(
        self,
        noise_map: Optional[tf.Tensor],
        previous: tf.Tensor,
        photograph: int = 0,
    ) -> tf.Tensor:
        """The photograph here: without noise every patch is its own nearest."""
        return tf.convert_to_tensor(self.reals[photograph])

    def seamless(self) -> "PatchStage":
        """See `Stage.seamless`."""
        stage = copy.copy(self)
        stage._wrap = True
        return stage

    @property
    def _all_keys(self) -> list[tf.Variable]:
        return [self.keys, *getattr(self, "further_keys", ())]


def _image(size: tuple[int, int], channels: int) -> tf.Variable:
    return tf.Variable(tf.zeros([1, *size, channels]), trainable=False)


def _choices(noise_map: tf.Tensor, count: int) -> tf.Tensor:
    """The photograph that each row's noise chooses, int32 [B].

    By the direction of two of its numbers, which is uniform and stays what it is when
    noise is multiplied; where there is none, the first.
    """
    numbers = noise_map[:, 0, :2, 2]
    # Where noise is multiplied by zero, zeros have its signs, and so a direction.
    numbers = tf.where(numbers == 0, 0.0, numbers)
    turn = tf.atan2(numbers[:, 0], numbers[:, 1]) / (2 * math.pi)
    number = tf.cast(tf.math.floormod(turn, 1.0) * count, tf.int32)
    return tf.minimum(number, count - 1)
