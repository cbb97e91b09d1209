"""One training step of a scale: the recipe of the paper.

1. `draw`: the photograph, the inputs of a fake, and those of the reconstruction, or a
   crop of each.
2. `update_critic`: the adversary learns to tell fakes from the photograph. Both are
   repeated as often as the adversary wants; one that does not learn wants it once.
3. `update_generator`, as often as the adversary wants: what the adversary makes of a
   fake, plus the error of the reconstruction (SinGAN, eq. 1), plus a texture loss if
   one is asked for. Where the adversary's gradient is reused, it looks once, in `push`,
   before the first of these updates.

Where there are several photographs, each has a `ScaleStep` of its own, of its size, and
every step is one of one of them.

What the adversary is, and where previous images come from, the step does not know: see
`adversaries` and `previous_images`. These methods see one replica's share of the
batch; `compiled` runs them on all replicas, as one graph.
"""

from collections.abc import Sequence
from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from singan_tf import inside as inside_lib
from singan_tf.config import Config
from singan_tf.model import networks, noise
from singan_tf.model.singan import SinGAN
from singan_tf.training import (
    adversaries,
    distribution,
    draws,
    losses,
    optimizers,
    previous_images,
    vgg,
)
from singan_tf.training.crops import Crops
from singan_tf.training.draws import Drawn
from singan_tf.training.players import Players


class _Seen(NamedTuple):
    """A photograph as the steps of a scale see it.

    Attributes:
        image: float32 [1, H, W, C] in [-1, 1].
        inside: What of it counts, float32 [1, H, W, 1] of 0 and 1; None for all.
        crops: Its windows.
    """

    image: tf.Tensor
    inside: Optional[tf.Tensor]
    crops: Crops

    def cut(
        self, values: Optional[tf.Tensor], seeds: tf.Tensor, stream: int
    ) -> Optional[tf.Tensor]:
        """Windows of one of them by `Crops.cut`; None stays None."""
        return None if values is None else self.crops.cut(values, seeds, stream)


class Push(NamedTuple):
    """What moves a fake.

    Attributes:
        term: The adversary's term of each sample, before its weight, float32 [B].
        gradient: Of the weighted term with respect to the fake, float32 [B, H, W, C].
    """

    term: tf.Tensor
    gradient: tf.Tensor


class ScaleStep:
    """The step of the finest scale that a pyramid has so far."""

    def __init__(
        self,
        config: Config,
        strategy: tf.distribute.Strategy,
        singan: SinGAN,
        players: Players,
        real: tf.Tensor,
        previous_reconstruction: tf.Tensor,
        pool: Optional[tf.Tensor] = None,
        inside: Optional[np.ndarray] = None,
        others: Sequence[tuple[tf.Tensor, Optional[np.ndarray]]] = (),
    ):
        """Prepares what all steps have in common.

        Args:
            config: Of the run.
            strategy: Where the step runs.
            singan: The pyramid up to this scale; its stages below stay as they are.
            players: What the step trains.
            real: The photograph, float32 [1, H, W, C] in [-1, 1].
            previous_reconstruction: The coarser reconstruction here, same shape.
            pool: Samples of the scale below to train on, float32 [pool, h, w, C];
                None to draw one for every update, and at scale 0.
            inside: What of the photograph counts, bool [H, W]; None for all.
            others: The other photographs of the run at this scale, each float32 [1, h,
                w, C], and what of them counts.

        Raises:
            UsageError: if the batch cannot be split evenly over the devices.
        """
        self._config, self._strategy, self._singan = config, strategy, singan
        self._stage = players.stage
        self._optimizer = players.generator_optimizer
        self._previous_reconstruction = previous_reconstruction
        self._scale = len(singan.stages) - 1
        self._size = singan.sizes[self._scale]

        self._local_batch = distribution.local_batch_size(
            strategy, config.training.global_batch_size
        )
        self._global_batch = self._local_batch * strategy.num_replicas_in_sync

        # What is cut into crops is padded before, in one piece.
        self._own = _see(config, self._scale, real, inside)
        self._others = [_see(config, self._scale, *each) for each in others]
        self._crops, self._padded_inside = self._own.crops, _padded(inside)
        self._previous = previous_images.make_source(
            singan.coarsest(self._scale),
            pool,
            (lambda image: image) if self._crops.whole else self._stage.pad,
        )
        self._adversary = self._make_adversary(players)
        self._texture = _texture_term(config, real if self._crops.whole else None)

    def _make_adversary(self, players: Players) -> adversaries.Adversary:
        """What the generator is trained against."""
        seen = [self._own, *self._others]
        whole = all(each.crops.whole for each in seen)
        return adversaries.make(
            self._config,
            self._scale,
            players.critic,
            players.critic_optimizer,
            self._global_batch,
            [each.image for each in seen] if whole else None,
            [each.inside for each in seen],
        )

    def draw(self, step: tf.Tensor, update: tf.Tensor) -> Drawn:
        """Draws what this replica sees in an update.

        Args:
            step: The step's number, a scalar int64.
            update: The number of the draw in the step, a scalar int64.
        """
        seeds = self._draw_seeds(step, update)
        own, streams = self._own, self._adversary.streams
        padded_inside = self._padded_inside
        if padded_inside is not None:
            padded_inside = self._crops.cut(padded_inside, seeds, streams[0], True)
        return Drawn(
            {stream: own.cut(own.image, seeds, stream) for stream in streams},
            {
                stream: [each.cut(each.image, seeds, stream) for each in self._others]
                for stream in self._adversary.other_streams
            },
            self._draw_fake_inputs(seeds),
            self._draw_reconstruction_inputs(seeds, step),
            seeds,
            {stream: own.cut(own.inside, seeds, stream) for stream in streams},
            {
                stream: [each.cut(each.inside, seeds, stream) for each in self._others]
                for stream in self._adversary.other_streams
            },
            padded_inside,
        )

    def update_critic(self, drawn: Drawn) -> tf.Tensor:
        """Lets the adversary learn.

        Returns:
            This replica's share of the critic's losses, float32 [3]; see
            `Adversary.update`.
        """
        return self._adversary.update(drawn, self._stage.generator)

    def push(self, drawn: Drawn) -> Push:
        """Lets the adversary look at the fake as the generator makes it now."""
        fake = self._stage.generator(drawn.fake_inputs, training=True)
        with tf.GradientTape() as tape:
            tape.watch(fake)
            term = self._adversary.term(fake, drawn)
            loss = optimizers.scaled(
                self._optimizer, tf.reduce_sum(self._adversary.weight * term)
            )
        (gradient,) = optimizers.gradients(self._optimizer, tape, loss, [fake])
        return Push(term, gradient)

    def update_generator(self, drawn: Drawn, push: Optional[Push] = None) -> tf.Tensor:
        """Updates the generator once.

        Args:
            drawn: What is seen in this update.
            push: What moves the fake; None for the adversary's look at this one.

        Returns:
            This replica's share of the means over the global batch of the adversary's
            term and of the reconstruction's error, float32 [2], before their weights.
        """
        training, generator = self._config.training, self._stage.generator
        real = drawn.reals[self._adversary.streams[0]]
        inside = drawn.insides[self._adversary.streams[0]]
        with tf.GradientTape() as tape:
            fake = generator(drawn.fake_inputs, training=True)
            if push is None:
                adversarial = self._adversary.term(fake, drawn)
                loss = self._adversary.weight * adversarial
            else:
                adversarial = push.term
                loss = tf.reduce_sum(push.gradient * fake, axis=[1, 2, 3])
            restored = generator(
                drawn.reconstruction_inputs, training=True, inside=drawn.padded_inside
            )
            reconstruction = losses.reconstruction(restored, real, inside)
            loss += training.reconstruction_weight * reconstruction
            if self._texture is not None:
                loss += training.texture_weight * self._texture(fake, real)
            loss = optimizers.scaled(
                self._optimizer, tf.reduce_sum(loss) / self._global_batch
            )
        optimizers.apply(self._optimizer, tape, loss, generator.trainable_variables)
        return tf.reduce_sum([adversarial, reconstruction], axis=1) / self._global_batch

    def compiled(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The whole step, on all replicas, as one graph.

        Returns:
            A function of the step's number, a scalar int64, that updates the players
            and returns the losses, float32 [len(LOSS_COLUMNS)].
        """
        draw = self._on_replicas(self.draw)
        update_critic = self._on_replicas(self.update_critic)
        push = self._on_replicas(self.push)
        update_generator = self._on_replicas(self.update_generator)

        reused = (
            self._config.training.adversary_gradient == "reused"
            and self._adversary.generator_updates > 1
        )

        def total(terms):
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, terms, axis=None)

        @tf.function(jit_compile=self._config.training.xla or None, autograph=False)
        def step_function(step):
            for update in range(self._adversary.draws):
                drawn = draw(step, tf.constant(update, tf.int64))
                on_critic = total(update_critic(drawn))
            # The reference code reuses the last critic update's fake, and with it what
            # moves it, for all updates of the generator.
            pushed = (push(drawn),) if reused else ()
            for _ in range(self._adversary.generator_updates):
                on_generator = update_generator(drawn, *pushed)
            return tf.concat([on_critic, total(on_generator)], axis=0)

        return step_function

    def _on_replicas(self, function: Callable) -> Callable:
        # A function of its own is traced once, however often a step repeats it.
        return tf.function(
            lambda *arguments: self._strategy.run(function, arguments), autograph=False
        )

    def _draw_seeds(self, step: tf.Tensor, update: tf.Tensor) -> tf.Tensor:
        """The seeds of this replica's samples, int64 [local batch]."""
        seeds = draws.update_seeds(
            self._config.training.seed, self._scale, step, update, self._global_batch
        )
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        first = replica * self._local_batch
        return tf.ensure_shape(
            seeds[first : first + self._local_batch], [self._local_batch]
        )

    def _draw_fake_inputs(self, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What the generator makes fakes of."""
        previous = self._previous(seeds)
        if self._crops.whole:
            noise_map = self._stage.noise(seeds, self._scale, *self._size)
            return self._stage.padded_inputs(noise_map, previous)
        corners = self._crops.corners(seeds, noise.FAKE_CROP_STREAM)
        return self._stage.padded_crop_inputs(
            seeds, self._scale, previous, corners, self._crops.size
        )

    def _draw_reconstruction_inputs(
        self, seeds: tf.Tensor, step: tf.Tensor
    ) -> list[tf.Tensor]:
        """What the generator makes the photograph of: z* at scale 0, no noise above."""
        noise_map = None
        if self._scale == 0:
            seed = draws.reconstruction_seed(self._config.training, step)
            noise_map = self._singan.draw_reconstruction_noise(seed)
        inputs = self._stage.padded_inputs(noise_map, self._previous_reconstruction)
        stream = self._adversary.streams[0]
        return [self._crops.cut(image, seeds, stream, padded=True) for image in inputs]


def _see(
    config: Config, scale: int, real: tf.Tensor, inside: Optional[np.ndarray]
) -> _Seen:
    """A photograph at a scale, float32 [1, H, W, C], of which bool [H, W] counts."""
    side, size = config.training.at(scale).crop_size, tuple(real.shape[1:3])
    crops = Crops(size, side, inside, inside_lib.seen_side(config, scale))
    return _Seen(real, None if inside is None else _as_image(inside), crops)


def _padded(inside: Optional[np.ndarray]) -> Optional[tf.Tensor]:
    """A mask as an image that is padded for a generator; None stays None.

    What touches the image's border goes on beyond it.
    """
    if inside is None:
        return None
    return _as_image(np.pad(inside, networks.MARGIN, mode="edge"))


def _as_image(inside: np.ndarray) -> tf.Tensor:
    """A mask, bool [H, W], as float32 [1, H, W, 1] of 0 and 1."""
    return tf.constant(inside[np.newaxis, :, :, np.newaxis].astype(np.float32))


def _texture_term(
    config: Config, real: Optional[tf.Tensor]
) -> Optional[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """The texture loss of fakes against real images; None if there is none.

    Args:
        config: Of the run.
        real: The photograph, if every real image is the whole of it: it is then
            looked at once.
    """
    if not config.training.texture_weight:
        return None
    activations = vgg.load(config.runtime.vgg_weights)

    def grams(image):
        return [losses.gram(each) for each in activations(image)]

    once = None if real is None else grams(real)

    def term(fake, real_batch):
        return losses.texture(grams(fake), once or grams(real_batch))

    return term
