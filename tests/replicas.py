"""Trains a small pyramid in a fresh process: replicas.py FOLDER SETTINGS_IN_JSON.

MirroredStrategy needs logical devices, and MultiWorkerMirroredStrategy a process, that
have computed nothing yet.
"""

import contextlib
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

from singan_tf import config, images
from singan_tf import inside as inside_lib
from singan_tf.keras2 import keras
from singan_tf.runs.display import Monitor, Silent
from singan_tf.runs.facts import Photograph, inside_sha256
from singan_tf.runs.folder import RunFolder, run_scales
from singan_tf.training import distribution, optimizers
from singan_tf.training import loop as training

SETTINGS = {
    "min_size": 16,
    "max_size": 24,
    "num_scales": 2,
    "steps": 20,
    "width": 4,
    "critic_updates": 1,
    "generator_updates": 1,
    "global_batch_size": 4,
}


def make_smooth() -> None:
    """Takes out what makes much of rounding errors: devices round differently."""
    # A bias before batch norm has nothing else for a gradient, and Adam walks by it.
    optimizers.ADAM_EPSILON = 1e-3

    # The slope of a leaky ReLU jumps, and with it the gradient penalty.
    def activation(slope, dtype):
        return keras.layers.Activation(
            lambda x: slope * x + (1 - slope) * tf.nn.softplus(4 * x) / 4, dtype=dtype
        )

    keras.layers.LeakyReLU = activation


def main(folder: str, text: str) -> None:
    settings = {**SETTINGS, **json.loads(text)}
    # Not a setting: whether only the left of the photograph counts.
    inside = None
    if settings.pop("masked", False):
        inside = np.arange(30)[np.newaxis].repeat(24, axis=0) < 23
    settings = config.from_settings(settings)
    if settings.runtime.strategy == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    tf.config.experimental.enable_op_determinism()
    make_smooth()
    strategy = distribution.make_strategy(settings.runtime.strategy)
    photograph = images.read(images.resolve("coffee"))[:, 100:124, 200:230]
    if inside is not None:
        photograph = inside_lib.fill(photograph, inside)
    known_by = "0" * 64, inside_sha256(inside)
    facts = Photograph("coffee.png", *photograph.shape[1:3], *known_by)
    run = RunFolder(pathlib.Path(folder))
    opened, watch = contextlib.nullcontext(), Silent()
    if distribution.is_chief(strategy):
        opened = run.open(settings, facts, overwrite=False)
        sizes = run_scales(settings, facts).sizes
        watch = Monitor(settings, sizes, run)
    with opened:
        training.train(
            photograph, settings, run, watch, strategy=strategy, insides=[inside]
        )
    watch.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
