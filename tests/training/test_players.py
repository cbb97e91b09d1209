import numpy as np
import pytest
from run_folders import TINY, stored, train, weights

from singan_tf import config
from singan_tf.model import pyramid
from singan_tf.model.singan import bring_up
from singan_tf.training import players

pytestmark = pytest.mark.usefixtures("deterministic")


def test_noise_amplitude_is_weight_times_rmse():
    rng = np.random.default_rng(0)
    real, reconstruction = rng.normal(size=[2, 1, 5, 6, 3]).astype(np.float32)
    expected = 0.1 * np.sqrt(np.mean((real - reconstruction) ** 2))
    found = players.noise_amplitude([real], [reconstruction], 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_noise_amplitude_is_of_what_is_inside_of_each():
    rng = np.random.default_rng(0)
    sizes = [(5, 6), (7, 4)]
    reals, made = (
        [rng.normal(size=[1, *size, 3]).astype(np.float32) for size in sizes]
        for _ in range(2)
    )
    inside = rng.uniform(size=[5, 6]) > 0.5
    errors = [((real - each) ** 2)[0] for real, each in zip(reals, made)]
    expected = 0.1 * np.sqrt((errors[0][inside].mean() + errors[1].mean()) / 2)
    found = players.noise_amplitude(reals, made, 0.1, [inside, None])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_scales_of_the_same_width_start_from_the_scale_below(coffee, tmp_path):
    rates = {"generator_learning_rate": 0.0, "critic_learning_rate": 0.0}
    still = {**rates, "generator_normalization": "none", "steps": 1}
    same = train(coffee, tmp_path / "same", **still)
    for below, above in zip(weights(same, 0), weights(same, 1)):
        np.testing.assert_array_equal(below, above)
    wider = train(coffee, tmp_path / "wider", width_doubling=1, **still)
    assert weights(wider, 1)[0].shape[-1] == 2 * weights(wider, 0)[0].shape[-1]
    np.testing.assert_array_equal(weights(same, 0)[0], weights(wider, 0)[0])


THREE_SCALES = {"max_size": 30, "num_scales": 3, "min_size": 17}


def critic_weights(run_dir, scale):
    return {
        name: value
        for (found, name), value in stored(run_dir).items()
        if found == scale and name.startswith("critic/")
    }


@pytest.mark.slow
def test_a_critic_starts_from_the_nearest_critic_below(coffee, tmp_path):
    still = {"generator_learning_rate": 0.0, "critic_learning_rate": 0.0}
    still.update(THREE_SCALES, steps=1, critic_normalization="none")
    train(coffee, tmp_path, adversary="0:critic,1:frechet,2-:critic", **still)
    below, above = (critic_weights(tmp_path, scale) for scale in (0, 2))
    assert len(below) == 10 and not critic_weights(tmp_path, 1)
    for name, value in below.items():
        np.testing.assert_array_equal(value, above[name], err_msg=name)


@pytest.mark.slow
def test_a_scale_of_another_normalization_starts_anew_and_the_next_from_it(
    coffee, tmp_path
):
    still = {"generator_learning_rate": 0.0, "steps": 1}
    kinds = {"generator_normalization": "0:batch,1-:none"}
    trained = train(coffee, tmp_path, **THREE_SCALES, **still, **kinds)
    settings = config.from_settings({**TINY, **THREE_SCALES, **still, **kinds})
    fresh = players.make_players(settings, 1).stage.generator.get_weights()
    assert [len(weights(trained, scale)) for scale in range(3)] == [26, 10, 10]
    for scale in (1, 2):
        for ours, expected in zip(weights(trained, scale), fresh):
            np.testing.assert_array_equal(ours, expected)


@pytest.mark.slow
def test_the_first_trained_scale_starts_anew_from_the_photograph(coffee, tmp_path):
    """Patches below give it neither weights nor an error to make good."""
    rates = {"generator_learning_rate": 0.0, "critic_learning_rate": 0.0, "steps": 1}
    rates["generator_normalization"] = "none"
    above = train(coffee, tmp_path, patch_scales=1, **rates)
    reals = pyramid.image_pyramid(coffee, above.sizes)
    np.testing.assert_array_equal(above.reconstructions(1)[0], reals[0])
    settings = config.from_settings({**TINY, **rates})
    fresh = players.make_players(settings, 1).stage.generator.get_weights()
    for ours, expected in zip(weights(above, 1), fresh):
        np.testing.assert_array_equal(ours, expected)
    error = bring_up(reals[0], above.sizes[1]) - reals[1]
    np.testing.assert_allclose(
        above.stages[1].noise_amplitude, 0.1 * np.sqrt(np.mean(error**2)), rtol=1e-4
    )
