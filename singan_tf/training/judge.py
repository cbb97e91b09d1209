"""A judge of stages: what each would make of the same samples of the scale below."""

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
        real: tf.Tensor,
        pool: Optional[tf.Tensor],
        config: TrainingConfig,
        inside: Optional[np.ndarray] = None,
    ):
        """Draws what enters the scale.

        Args:
            singan: The stages of the coarser scales.
            real: The photograph at the scale, float32 [1, H, W, C] in [-1, 1].
            pool: Samples of the scale below, float32 [pool, h, w, C], as
                `previous_images.draw_pool` draws them; None to draw some.
            config: The pool's size, and the seed.
            inside: What of the photograph counts, bool [H, W]; None for all.
        """
        self._singan, self._real = singan, real.numpy()
        self._scale = len(singan.stages)
        self._inside = inside
        seeds = draws.pool_seeds(config.seed, config.previous_pool or _SAMPLES)
        self._seeds = [seeds[i : i + 1] for i in range(min(_SAMPLES, seeds.shape[0]))]
        self._below: list[Optional[tf.Tensor]] = [None] * len(self._seeds)
        if self._scale:
            self._below = [
                singan.sample(seed) if pool is None else pool[i : i + 1]
                for i, seed in enumerate(self._seeds)
            ]

    def distance(self, stage: Stage) -> float:
        """How far samples are from the photograph with a stage; `likeness.distance`."""
        grown = self._singan.with_stage(stage)
        return self._measure(
            [
                grown.draw(self._scale, below, seed)
                for below, seed in zip(self._below, self._seeds)
            ]
        )

    def entering(self) -> float:
        """How far they are as they enter the scale, which is not the coarsest."""
        size = self._singan.sizes[self._scale]
        return self._measure([bring_up(below, size) for below in self._below])

    def _measure(self, samples: list[tf.Tensor]) -> float:
        shown = [each.numpy() for each in samples]
        return likeness.distance(shown, self._real, self._inside)
