"""Which of a scale's candidates stays: by what its samples measure, not by coming last.

Adversarial training may be better halfway than at its end, and where it goes wrong,
such as by covering a wall with a grating, reconstruction and losses do not tell. So a
scale may have candidates: its weights after every so many steps, and the patches of
the photograph in place of the generator. All make samples of the same layouts, and the
nearest to the photograph stays (`likeness.distance`).
"""

import functools
import logging
from collections.abc import Sequence
from typing import Optional

import numpy as np
import tensorflow as tf

from singan_tf.model import stages
from singan_tf.model.singan import SinGAN
from singan_tf.training import distribution, layouts
from singan_tf.training.judge import Judge
from singan_tf.training.players import Players
from singan_tf.training.session import Run

logger = logging.getLogger(__name__)


class Best(tf.Module):
    """The weights of a generator that measured best so far, for checkpoints.

    With the averages of its batch norm, which are no weights but belong to them.
    """

    def __init__(self, weights: list[tf.Variable]):
        """Makes place for as many; nothing has been measured."""
        super().__init__()
        self.distance = tf.Variable(np.inf, trainable=False, dtype=tf.float64)
        self.weights = [tf.Variable(each, trainable=False) for each in weights]


class Contest:
    """The candidates of one scale.

    Attributes:
        best: What a checkpoint has to hold of it.
    """

    def __init__(
        self,
        run: Run,
        singan: SinGAN,
        players: Players,
        reals: Sequence[tf.Tensor],
        pools: Sequence[Optional[tf.Tensor]],
    ):
        """Opens a contest that has no candidate yet.

        Args:
            run: What stays the same from scale to scale.
            singan: The stages of the coarser scales.
            players: What the scale trains.
            reals: The photographs there, each float32 [1, H, W, C] in [-1, 1].
            pools: Of each photograph's size samples of the scale below, float32 [pool,
                h, w, C]; None to draw some.
        """
        self._run, self._singan, self._players = run, singan, players
        self._scale, self._reals, self._pools = len(singan.stages), reals, pools
        self.best = Best(players.stage.generator.variables)

    @functools.cached_property
    def _judge(self) -> Judge:
        """Made when it is asked first: a finished scale that is taken up needs none."""
        config, count = self._run.config.training, len(self._reals)
        insides = self._run.insides_at(self._scale, count)
        return Judge(self._singan, self._reals, self._pools, config, insides)

    def offer(self, step: int) -> None:
        """Measures the weights after a step, if it is time to.

        Args:
            step: Its number, from 0. After the last, `settle` measures.
        """
        training = self._run.config.training
        every, done = training.keep_best, step + 1
        if not every or done % every or done == training.at(self._scale).steps:
            return
        weights = self._players.stage.generator.trainable_variables
        held = [weight.numpy() for weight in weights]
        if training.moving_average:
            self._players.average()
        self._keep_if_best()
        for weight, value in zip(weights, held):
            weight.assign(value)

    def settle(self) -> stages.Stage:
        """The stage that stays, once the last weights are what they are to be.

        Its generator has the best of the weights, unless patches are better still.
        """
        config, stage = self._run.config, self._players.stage
        if config.training.keep_best:
            self._keep_if_best()
            for weight, value in zip(stage.generator.variables, self.best.weights):
                weight.assign(value.numpy())
        if not self._scale:
            return stage
        winner = stage
        if config.training.keep_best:
            least = float(self.best.distance.numpy())
        else:
            least = self._judge.distance(stage)
        if config.layout.patches_compete:
            patches = layouts.patch_stage(self._run, self._singan, self._reals)
            if config.layout.patch_votes:
                distance = layouts.set_trust(patches, self._judge)
                layouts.share_trust(patches, self._run.strategy)
            else:
                distance = self._judge.distance(patches)
            logger.info(
                "Scale %d: samples of the generator are %.3f from the photograph, and "
                "%.3f those of patches; the nearer stay.",
                self._scale,
                least,
                distance,
            )
            if self._chief_says(distance < least):
                least, winner = distance, patches
        entering = self._judge.entering()
        if least > entering:
            logger.warning(
                "Scale %d made samples worse: they are %.3f from the photograph, and "
                "%.3f as they come from the scale below; fewer steps there, or another "
                "seed, may be better.",
                self._scale,
                least,
                entering,
            )
        return winner

    def _keep_if_best(self) -> None:
        stage = self._players.stage
        distance = self._judge.distance(stage)
        if self._chief_says(distance < self.best.distance.numpy()):
            self.best.distance.assign(distance)
            for kept, weight in zip(self.best.weights, stage.generator.variables):
                kept.assign(weight.numpy())

    def _chief_says(self, better: bool) -> bool:
        """What the chief found: other machines of a cluster may round otherwise."""
        return distribution.any_worker(self._run.strategy, better and self._run.chief)


def open_contest(
    run: Run,
    singan: SinGAN,
    players: Players,
    reals: Sequence[tf.Tensor],
    pools: Sequence[Optional[tf.Tensor]],
) -> Optional[Contest]:
    """A contest, if the settings want one; arguments are those of `Contest`."""
    config = run.config
    if not config.training.keep_best and not config.layout.patches_compete:
        return None
    return Contest(run, singan, players, reals, pools)
