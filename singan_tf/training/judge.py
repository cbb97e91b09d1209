"""A judge of stages: what each would make of the same samples of the scale below."""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import tensorflow as tf

from singan_tf.config import TrainingConfig
from singan_tf.measure import likeness
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.model.stage import Stage
from singan_tf.training import draws

_SAMPLES = 8


class Judge:
    """Measures stages for the next scale of a pyramid, the same samples for each."""

    def __init__(
        self,
        singan: SinGAN,
        reals: Sequence[tf.Tensor],
        pools: Sequence[Optional[tf.Tensor]],
        config: TrainingConfig,
        insides: Sequence[Optional[np.ndarray]] = (),
    ):
        """Draws what enters the scale.

        Args:
            singan: The stages of the coarser scales.
            reals: The photographs at the scale, each float32 [1, H, W, C] in [-1, 1].
            pools: Of each photograph's size samples of the scale below, float32 [pool,
                h, w, C], as `previous_images.draw_pool` draws them; None to draw some.
            config: A pool's size, and the seed.
            insides: What of each photograph counts, bool [H, W], or None for all; none
                where all of all does.
        """
        self._reals = [real.numpy() for real in reals]
        self._insides = insides
        self._scale = len(singan.stages)
        # Of each sample the pyramid of its size, its seed, and what it is made from.
        self._draws: list[tuple[SinGAN, tf.Tensor, Optional[tf.Tensor]]] = []
        count = config.previous_pool or _SAMPLES
        most = max(_SAMPLES // len(reals), 1)
        for each, pool in zip(singan.each(), pools):
            seeds = draws.pool_seeds(config.seed, count, each.photograph)
            for i in range(min(most, count)):
                seed, below = seeds[i : i + 1], None
                if self._scale:
                    below = each.sample(seed) if pool is None else pool[i : i + 1]
                self._draws.append((each, seed, below))

    def distance(self, stage: Stage) -> float:
        """How far samples are from the photographs with a stage; see `likeness`."""
        return self._measure(
            [
                each.with_stage(stage).draw(self._scale, below, seed)
                for each, seed, below in self._draws
            ]
        )

    def entering(self) -> float:
        """How far they are as they enter the scale, which is not the coarsest."""
        return self._measure(
            [bring_up(below, each.sizes[self._scale]) for each, _, below in self._draws]
        )

    def _measure(self, samples: list[tf.Tensor]) -> float:
        arrays = [each.numpy() for each in samples]
        return likeness.distance_to_nearest(arrays, self._reals, self._insides)
