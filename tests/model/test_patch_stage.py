"""What a stage of patches does by itself."""

import numpy as np
import tensorflow as tf

from singan_tf.model.patch_stage import PatchStage


def test_without_noise_the_first_photograph_is_chosen():
    """Also where noise is multiplied by zero, which leaves zeros of both signs."""
    stage = PatchStage((9, 9), 1, 1, 0.1, True, False, further_sizes=[(9, 12), (8, 8)])
    for number, real in enumerate(stage.reals):
        stage.remember(tf.fill(real.shape, float(number) / 2), real, number)
    noise_map = 0.0 * stage.noise(tf.range(60, dtype=tf.int64), 0, 9, 9)
    signs = np.signbit(noise_map[:, 0, :2, 2])
    assert len(np.unique(signs, axis=0)) == 4
    made = stage(noise_map, tf.zeros([60, 9, 9, 1]))
    np.testing.assert_array_equal(made, np.zeros([60, 9, 9, 1]))
