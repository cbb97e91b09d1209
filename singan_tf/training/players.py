"""What a scale trains: a stage, its critic where there is one, and their optimizers."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from singan_tf import inside as inside_lib
from singan_tf.config import Config
from singan_tf.keras2 import keras
from singan_tf.model import networks, stages
from singan_tf.training.optimizers import make_optimizer


class Players(NamedTuple):
    """What a scale trains.

    There is no critic, and no optimizer of it, where the adversary is a distance.
    """

    stage: stages.ConvolutionalStage
    critic: Optional[networks.Critic]
    generator_optimizer: keras.optimizers.Optimizer
    critic_optimizer: Optional[keras.optimizers.Optimizer]

    def average(self) -> None:
        """Gives the generator the moving average of its weights."""
        variables = self.stage.generator.trainable_variables
        self.generator_optimizer.finalize_variable_values(variables)

    def objects(self) -> dict[str, Any]:
        """Those that there are, by the names that they have in a checkpoint."""
        named = self._asdict().items()
        return {name: each for name, each in named if each is not None}


def make_players(
    config: Config,
    scale: int,
    palette: Optional[np.ndarray] = None,
    synchronized: bool = False,
    generator: Optional[networks.Generator] = None,
    critic_below: Optional[networks.Critic] = None,
) -> Players:
    """Creates a scale's networks and fresh optimizers.

    Args:
        config: Of the run.
        scale: The scale.
        palette: The only colours of its previous images, float32 [K, C]; None for
            all.
        synchronized: See `networks.Generator`.
        generator: To start from, if any.
        critic_below: To start from, if any.
    """
    training, numbers = config.training, config.training.at(scale)
    course = numbers.schedule_steps or numbers.steps
    stage = stages.build_convolutional_stage(config, scale, palette, synchronized)
    if generator is not None:
        _warm_start(stage.generator, generator)
    critic = critic_optimizer = None
    # Without a critic there are no two players to keep in balance: a step is one
    # update.
    generator_updates = 1
    if config.adversary.has_critic(scale):
        generator_updates = numbers.generator_updates
        critic = networks.build_critic(config, scale, synchronized)
        if critic_below is not None:
            _warm_start(critic, critic_below)
        critic_optimizer = make_optimizer(
            training,
            course,
            numbers.critic_learning_rate,
            numbers.critic_updates,
            0.0,
        )
        critic_optimizer.build(critic.trainable_variables)
    generator_optimizer = make_optimizer(
        training,
        course,
        numbers.generator_learning_rate,
        generator_updates,
        training.moving_average,
    )
    # From here on, as the moving average begins at these weights.
    generator_optimizer.build(stage.generator.trainable_variables)
    return Players(stage, critic, generator_optimizer, critic_optimizer)


def noise_amplitude(
    reals: Sequence[tf.Tensor],
    previous_reconstructions: Sequence[tf.Tensor],
    weight: float,
    insides: Sequence[Optional[np.ndarray]] = (),
) -> tf.Tensor:
    """Standard deviation of the noise that a scale adds.

    The harder a scale is to reconstruct from the one below, the more it is allowed
    to invent (SinGAN, section 2 and the reference code).

    Args:
        reals: The photographs at this scale, each float32 [1, H, W, C] in [-1, 1]; all
            count alike.
        previous_reconstructions: The coarser reconstructions brought up to this
            scale, same shapes.
        weight: Amplitude per unit of RMSE; 0.1 in the paper.
        insides: The pixels of each that count, bool [H, W], or None for all; none
            where all of all do.

    Returns:
        Scalar float32.
    """
    errors = [
        tf.reduce_mean(_counted((real - previous) ** 2, inside))
        for real, previous, inside in zip(
            reals, previous_reconstructions, inside_lib.of_each(insides, len(reals))
        )
    ]
    return weight * tf.sqrt(tf.reduce_mean(errors))


def _counted(values: tf.Tensor, inside: Optional[np.ndarray]) -> tf.Tensor:
    """Those of the pixels of [1, H, W, C] that count, [N, C]; all if none is told."""
    return values if inside is None else tf.boolean_mask(values[0], inside)


def _warm_start(network: keras.Model, below: keras.Model) -> None:
    """Copies the weights of the scale below where the width is the same."""
    ours, theirs = network.get_weights(), below.get_weights()
    if [w.shape for w in ours] == [w.shape for w in theirs]:
        network.set_weights(theirs)
