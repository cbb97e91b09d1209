import numpy as np
import pytest
from run_folders import TINY, train, weights

from singan_tf import config
from singan_tf.training import optimizers, players

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("step", {0: 5e-4, 4799: 5e-4, 4800: 5e-5, 5999: 5e-5}),
        ("constant", {0: 5e-4, 5999: 5e-4}),
        # Half a cosine from 5e-4 to 5e-5 over 6000 updates.
        ("cosine", {0: 5e-4, 3000: 2.75e-4, 6000: 5e-5}),
    ],
)
def test_learning_rate_follows_its_schedule_over_updates(schedule, rates):
    settings = config.TrainingConfig(learning_rate_schedule=schedule)
    rate_at = optimizers.learning_rate_schedule(settings, 2000, 5e-4, updates=3)
    for update, rate in rates.items():
        np.testing.assert_allclose(rate_at(update), rate, rtol=1e-5)


@pytest.mark.slow
def test_the_moving_average_is_that_of_the_weights_after_each_step(coffee, tmp_path):
    decay = 0.7
    one_scale = {"num_scales": 1, "min_size": 20, "learning_rate_schedule": "constant"}
    # Before batch norm a bias has only rounding errors for a gradient, and Adam
    # magnifies them.
    one_scale["generator_normalization"] = one_scale["critic_normalization"] = "none"
    after = [
        weights(train(coffee, tmp_path / str(n), steps=n, **one_scale))
        for n in (1, 2, 3)
    ]
    settings = config.from_settings({**TINY, **one_scale})
    average = players.make_players(settings, 0).stage.generator.get_weights()
    for step in after:
        average = [decay * a + (1 - decay) * w for a, w in zip(average, step)]
    averaged = train(
        coffee, tmp_path / "averaged", steps=3, moving_average=decay, **one_scale
    )
    trainable = averaged.stages[0].generator.trainable_variables
    names = [v.name for v in averaged.stages[0].generator.variables]
    for variable in trainable:
        expected = average[names.index(variable.name)]
        np.testing.assert_allclose(variable, expected, atol=1e-5)


@pytest.mark.slow
def test_float16_learns_what_is_too_small_for_it(coffee, tmp_path):
    """Without a scaled loss these gradients, below 6e-8, would be zero."""
    settings = {"num_scales": 1, "min_size": 20, "adversary": "frechet"}
    settings.update(patch_weight=0.0, reconstruction_weight=1e-5, steps=30)
    settings.update(learning_rate_schedule="constant", reconstruction_noise="fixed")
    for precision in ("none", "float16"):
        folder = tmp_path / precision
        train(coffee, folder, mixed_precision=precision, **settings)
    found, expected = (
        np.loadtxt(tmp_path / name / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for name in ("float16", "none")
    )
    assert expected[-1, 5] < 0.8 * expected[0, 5]
    np.testing.assert_allclose(found[:, 5], expected[:, 5], rtol=0.1)
