"""A small pyramid and images for it, for the tests of what is made with one."""

import numpy as np
import tensorflow as tf

from singan_tf.model.resize import resize
from singan_tf.model.singan import SinGAN

SIZES = [(8, 10), (11, 14), (16, 20)]


def build(make_stage, channels=3, **settings):
    model = SinGAN(SIZES, channels)
    for scale in range(3):
        amplitude = 1.0 if scale == 0 else 0.3
        stage = make_stage(scale, amplitude, channels=channels, **settings)
        model.stages.append(stage)
    model.set_reconstruction_noise(11)
    return model


def random_image(height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (1, height, width, channels)).astype(np.float32)


def clip(x):
    return np.clip(x, -1, 1)


def brought_up(x, size):
    return clip(resize(tf.constant(x), *size).numpy())
