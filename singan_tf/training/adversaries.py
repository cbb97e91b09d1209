"""What pushes a generator: a critic, a distance of patches, or several at once.

A step asks its adversary, whatever it is, for four things: how many updates there are
(`draws`, `generator_updates`), where the crops of the photograph lie that it wants to
see (`streams`), an update of its own (`update`), and the term that a fake adds to the
generator's loss (`weight` times `term`).

- **A critic** learns beside the generator. It sees the photograph at a place of its
  own: its score is to hold for patches from anywhere.
- **A distance** has nothing to learn, so a step is one update. It compares a crop of a
  fake with the photograph at the same place: the photograph's patches are not the same
  everywhere, and a crop of a fake is not to resemble all of them.
- **A sum** of them updates as often as its critic wants, and each part sees the
  photograph where it would alone. The reconstruction's crop lies at the first part's
  place, and a critic comes first.

Where only a part of the photograph counts, fakes still fill the whole image. Of the
photograph, scores and patches count that see nothing else (`Drawn.insides`).
"""

from collections.abc import Sequence
from typing import Callable, Optional

import tensorflow as tf

from singan_tf.config import CRITIC_SIDE, Config
from singan_tf.keras2 import keras
from singan_tf.model import networks, noise
from singan_tf.training import losses, optimizers, patch_losses
from singan_tf.training.draws import Drawn


class Adversary:
    """What all adversaries have in common.

    Attributes:
        draws: The number of draws in a step: fresh fakes, and an update of its own
            after each.
        generator_updates: The number of the generator's updates in a step, all on the
            last draw.
        weight: What its term is multiplied by in the generator's loss.
        streams: The noise streams of the places at which it wants to see the
            photograph; reconstructions are compared at the first one.
        other_streams: Those of them at which it wants to see the other photographs of
            the run as well.
    """

    draws: int = 1
    generator_updates: int = 1
    weight: float = 1.0
    streams: tuple[int, ...] = ()
    other_streams: tuple[int, ...] = ()

    def update(self, drawn: Drawn, generator: networks.Generator) -> tf.Tensor:
        """Learns to tell the photograph from fakes, if it learns.

        Args:
            drawn: What is seen in this update.
            generator: Makes the fakes.

        Returns:
            This replica's share of the means over the global batch of (score of the
            photograph, score of fakes, gradient penalty), float32 [3]: zeros from
            what does not learn.
        """
        return tf.zeros([3])

    def term(self, fake: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """What a generator is to make small.

        Args:
            fake: float32 [B, H, W, C].
            drawn: What it was made of.

        Returns:
            One value for each sample, before the weight, float32 [B].
        """
        raise NotImplementedError


class CriticAdversary(Adversary):
    """A critic, by the recipe of the paper (WGAN-GP on patches)."""

    streams = (noise.REAL_CROP_STREAM,)

    def __init__(
        self,
        config: Config,
        scale: int,
        critic: networks.Critic,
        optimizer: keras.optimizers.Optimizer,
        global_batch: int,
    ):
        """Takes a critic.

        Args:
            config: Of the run.
            scale: The scale.
            critic: Its variables must exist.
            optimizer: The critic's; its variables must exist.
            global_batch: The number of samples in an update, over all replicas.
        """
        numbers = config.training.at(scale)
        self.draws = numbers.critic_updates
        self.generator_updates = numbers.generator_updates
        self._penalized = config.network.critic_constraint == "gradient_penalty"
        self._penalty_weight = config.training.gradient_penalty_weight
        self._critic = critic
        self._optimizer = optimizer
        self._global_batch = global_batch

    def update(self, drawn: Drawn, generator: networks.Generator) -> tf.Tensor:
        """Raises the photograph's score above that of fakes; see `Adversary`."""
        real = drawn.reals[self.streams[0]]
        inside = drawn.insides[self.streams[0]]
        whole = None if inside is None else networks.whole(inside, CRITIC_SIDE)
        mixing = noise.uniform(drawn.seeds, noise.MIXING_STREAM, 1)[:, 0]
        fake = generator(drawn.fake_inputs, training=True)
        with tf.GradientTape() as tape:
            scores = self._critic(real, training=True, inside=inside)
            on_real = losses.mean_score(scores, whole)
            on_fake = losses.mean_score(self._critic(fake, training=True))
            penalty = tf.zeros_like(on_real)
            if self._penalized:
                penalty = losses.gradient_penalty(
                    lambda x: self._critic(x, training=True, inside=inside),
                    real,
                    fake,
                    mixing,
                    whole,
                )
            loss = on_fake - on_real + self._penalty_weight * penalty
            loss = optimizers.scaled(
                self._optimizer, tf.reduce_sum(loss) / self._global_batch
            )
        optimizers.apply(self._optimizer, tape, loss, self._critic.trainable_variables)
        return tf.reduce_sum([on_real, on_fake, penalty], axis=1) / self._global_batch

    def term(self, fake: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """Minus the score of a fake; see `Adversary`."""
        return -losses.mean_score(self._critic(fake, training=True))


class DistanceAdversary(Adversary):
    """A distance between the patches of a fake and of the photograph.

    Of several photographs all are looked at in every step: a fake is not of one of
    them, and a distance to each in turn would make of it a mean of them.
    """

    streams = other_streams = (noise.FAKE_CROP_STREAM,)

    def __init__(self, distance: Callable, weight: float):
        """Takes a distance.

        Args:
            distance: By `patch_losses.make`.
            weight: What it is multiplied by.
        """
        self.weight = weight
        self._distance = distance

    def term(self, fake: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """The distance; see `Adversary`."""
        stream = self.streams[0]
        reals = [drawn.reals[stream], *drawn.others[stream]]
        insides = [drawn.insides[stream], *drawn.other_insides[stream]]
        return self._distance(fake, reals, drawn.seeds, insides)


class SumOfAdversaries(Adversary):
    """Several adversaries that push at once, each with its own weight."""

    def __init__(self, parts: Sequence[Adversary]):
        """Takes the parts, a critic first."""
        self.draws = max(part.draws for part in parts)
        self.generator_updates = max(part.generator_updates for part in parts)
        # In order, and each place once.
        self.streams = tuple(
            dict.fromkeys(stream for part in parts for stream in part.streams)
        )
        self.other_streams = tuple({x for part in parts for x in part.other_streams})
        self._parts = parts

    def update(self, drawn: Drawn, generator: networks.Generator) -> tf.Tensor:
        """Updates every part; see `Adversary`."""
        return tf.add_n([part.update(drawn, generator) for part in self._parts])

    def term(self, fake: tf.Tensor, drawn: Drawn) -> tf.Tensor:
        """The sum of the weighted terms; see `Adversary`."""
        return tf.add_n([part.weight * part.term(fake, drawn) for part in self._parts])


def make(
    config: Config,
    scale: int,
    critic: Optional[networks.Critic],
    critic_optimizer: Optional[keras.optimizers.Optimizer],
    global_batch: int,
    reals: Optional[Sequence[tf.Tensor]],
    insides: Sequence[Optional[tf.Tensor]],
) -> Adversary:
    """Makes the adversary of a scale.

    Args:
        config: Of the run.
        scale: The scale.
        critic: Where the configuration wants one, else None.
        critic_optimizer: Likewise.
        global_batch: The number of samples in an update, over all replicas.
        reals: The photographs, each float32 [1, H, W, C] in [-1, 1], if every fake is
            compared with the whole of them: they are then looked at once.
        insides: What of each counts, float32 [1, H, W, 1] of 0 and 1; None for all.
    """
    parts = [
        CriticAdversary(config, scale, critic, critic_optimizer, global_batch)
        if name == "critic"
        else DistanceAdversary(
            patch_losses.make(config.adversary, name, reals, insides),
            patch_losses.weight(config.adversary, name),
        )
        for name in config.adversary.names_at(scale)
    ]
    return parts[0] if len(parts) == 1 else SumOfAdversaries(parts)
