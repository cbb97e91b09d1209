import pytest
import tensorflow as tf

import main
from singan_tf import config, images
from singan_tf.model import pyramid, stages
from singan_tf.model.singan import SinGAN, bring_up

_SIZES = [(25, 34), (36, 48), (54, 72)]


@pytest.fixture(scope="session")
def scene():
    """A photograph, float32 [1, 54, 72, 3]: a cup on a table."""
    coffee = images.read(images.resolve("coffee"))
    return bring_up(tf.constant(coffee), _SIZES[-1]).numpy()


@pytest.fixture(scope="session")
def patched(scene):
    """A pyramid of patches of it, which needs no training."""
    settings = config.from_settings(
        {"patch_scales": 3, "patch_votes": True, "layout_shift": 0.15}
    )
    singan = SinGAN(_SIZES, 3)
    previous = tf.zeros([1, *_SIZES[0], 3])
    reals = pyramid.image_pyramid(tf.constant(scene), _SIZES)
    for scale, real in enumerate(reals):
        stage = stages.build_patch_stage(settings, scale, _SIZES[scale])
        if scale:
            previous = bring_up(reals[scale - 1], _SIZES[scale])
        stage.remember(real, previous)
        singan.append(stage, None)
    return singan


@pytest.fixture(scope="session")
def trained(made_once):
    """A run that has learnt something; never write into it."""

    def fill(folder):
        arguments = ["--image=rocket", f"--run_dir={folder / 'trained'}"]
        arguments += ["--max_size=64", "--min_size=16", "--num_scales=4"]
        arguments += ["--steps=120", "--width=16", "--width_doubling=0"]
        arguments += ["--critic_updates=1", "--generator_updates=1"]
        arguments.append("--learning_rate_schedule=cosine")
        assert main.main(["main.py", "train", *arguments]) == 0

    return made_once("trained", fill) / "trained"
