import numpy as np
import pytest
import tensorflow as tf
from helpers import SMOKE
from PIL import Image
from task_commands import HEIGHT, WIDTH

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


@pytest.fixture(scope="session")
def grey(made_once, photograph):
    """A finished run in grey; never write into it."""

    def fill(folder):
        arguments = [f"--image={photograph}", f"--run_dir={folder / 'grey'}", SMOKE]
        assert main.main(["main.py", "train", *arguments, "--channels=1"]) == 0

    return made_once("grey", fill) / "grey"


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Images of the run's size, a mask, and what is wrong in every way."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, [HEIGHT, WIDTH, 3], np.uint8)).save(
        folder / "fits.png"
    )
    Image.fromarray(rng.integers(0, 256, [45, 70, 3], np.uint8)).save(
        folder / "large.png"
    )
    Image.fromarray(rng.integers(0, 256, [4, 70, 3], np.uint8)).save(
        folder / "thin.png"
    )
    mask = np.zeros([HEIGHT, WIDTH], np.uint8)
    mask[12:16, 30:36] = 255
    mask[20, 5] = 128
    mask[21, 5] = 127
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask).resize((96, 64)).save(folder / "large_mask.png")
    Image.fromarray(0 * mask).save(folder / "empty.png")
    Image.fromarray(0 * mask + 255).save(folder / "full.png")
    (folder / "notes.txt").write_text("not an image")
    return folder
