import numpy as np
import pytest

from singan_tf import config
from singan_tf.stages import build_stage


@pytest.fixture(scope="session")
def make_stage():
    """Builds stages that look trained: fresh weights hardly change their input."""

    def make(scale=1, amplitude=0.3, **settings):
        settings = {"width": 8, "width_doubling": 0, **settings}
        stage = build_stage(config.from_settings(settings), scale)
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
