import shutil

import numpy as np
import pytest
from helpers import SMOKE
from PIL import Image

import main
from export import saved_model, signatures
from singan_tf import config, images
from singan_tf.stages import build_stage


@pytest.fixture(scope="session")
def make_stage():
    """Builds stages that look trained: fresh weights hardly change their input."""

    def make(scale=1, amplitude=0.3, palette=None, **settings):
        settings = {"width": 8, "width_doubling": 0, **settings}
        stage = build_stage(config.from_settings(settings), scale, palette)
        rng = np.random.default_rng(scale)
        for variable in stage.generator.variables:
            shape = variable.shape
            if len(shape) == 4:
                value = rng.normal(0, 1.3 / np.prod(shape[:3]) ** 0.5, shape)
            elif "gamma" in variable.name or "variance" in variable.name:
                value = rng.uniform(0.5, 1.5, shape)
            else:
                value = rng.normal(0, 0.1, shape)
            variable.assign(value)
        stage.noise_amplitude.assign(amplitude)
        return stage

    return make


@pytest.fixture(scope="session")
def photograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs") / "rocket.png"
    Image.open(images.resolve("rocket")).resize((60, 40)).save(path)
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, photograph):
    """A finished run; never write into it."""
    run_dir = tmp_path_factory.mktemp("runs") / "rocket"
    status = main.main(
        ["main.py", "train", f"--image={photograph}", f"--run_dir={run_dir}", SMOKE]
    )
    assert status == 0
    return run_dir


@pytest.fixture(scope="session")
def exported(finished, tmp_path_factory):
    """The version folder of an export of the finished run; never write into it."""
    run_dir = tmp_path_factory.mktemp("exported") / "rocket"
    shutil.copytree(finished, run_dir)
    limits = signatures.Limits(max_pixels=2**16, max_batch=8)
    return saved_model.export(run_dir, None, limits)
